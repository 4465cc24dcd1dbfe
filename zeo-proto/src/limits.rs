/// How much one message may make the decoder build.
///
/// A message is bounded in bytes by its frame; these bounds keep what is built from it in proportion, since a
/// byte of pickle can ask for a whole value, and a reference to an earlier value for a copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How deep values may nest; a plain number is at depth 1.
    pub max_depth: usize,
    /// How many values one message may hold in all, copies by reference included.
    pub max_items: usize,
}

impl Limits {
    /// For what a server sends: `getInvalidations` may list every object of a large database.
    pub const REPLIES: Self = Self { max_depth: 64, max_items: 1 << 26 };
}

/// For requests: far above what stock clients send (some ten values; the largest are `iterator_gc` and the
/// extension of a transaction), and less than ten megabytes of memory for the worst.
impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 64, max_items: 1 << 16 }
    }
}
