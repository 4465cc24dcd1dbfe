/// How messages are written; settled per connection by the [handshake](crate::handshake).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Pickle protocol 3 without memo: `Z5`, the stock default.
    Pickle,
    /// msgpack with separate types for bytes and text: `M5`.
    Msgpack,
}
