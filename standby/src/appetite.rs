//! How much is read from a connection at a time: little from most, since thousands may be connected and do nothing, and much
//! from those who send much.

/// At least so much, in bytes: some requests that load an object.
const LEAST: usize = 512;
/// At most so much, in bytes: a larger room saves no more system calls worth having.
const MOST: usize = 64 << 10;

/// It shrinks after so little came so many times in a row: requests come in bursts.
const PATIENCE: u8 = 200;

/// How much is to be read next.
#[derive(Clone, Copy, Debug)]
pub struct Appetite {
    bytes: usize,
    /// How often in a row little came.
    little: u8,
}

impl Default for Appetite {
    fn default() -> Self {
        Self { bytes: LEAST, little: 0 }
    }
}

impl Appetite {
    /// So many bytes.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// This many came, where there was room for so many: it grows with what is full, and shrinks where that stays nearly empty.
    pub fn fed(&mut self, came: usize, room: usize) {
        let Self { bytes, little } = *self;
        *self = if came >= room {
            Self { bytes: (bytes * 2).min(MOST), little: 0 }
        } else if came >= bytes / 4 {
            Self { bytes, little: 0 }
        } else if little + 1 < PATIENCE {
            Self { bytes, little: little + 1 }
        } else {
            Self { bytes: (bytes / 2).max(LEAST), little: 0 }
        };
    }

    /// A buffer of this size is to be given back when it is empty.
    pub fn is_too_large(self, capacity: usize) -> bool {
        capacity > self.bytes * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown() -> Appetite {
        let mut appetite = Appetite::default();
        for _ in 0..10 {
            appetite.fed(appetite.bytes(), appetite.bytes());
        }
        appetite
    }

    #[test]
    fn it_grows_while_there_is_more() {
        assert_eq!(Appetite::default().bytes(), LEAST);
        assert_eq!(grown().bytes(), MOST);
    }

    #[test]
    fn it_shrinks_where_little_comes_for_long() {
        let mut appetite = grown();
        for _ in 0..usize::from(PATIENCE) * 10 {
            appetite.fed(50, appetite.bytes());
        }
        assert_eq!(appetite.bytes(), LEAST);
    }

    #[test]
    fn small_requests_between_large_ones_change_nothing() {
        let mut appetite = grown();
        for _ in 0..1000 {
            for _ in 1..PATIENCE {
                appetite.fed(50, MOST);
            }
            appetite.fed(MOST / 2, MOST);
        }
        assert_eq!(appetite.bytes(), MOST);
    }

    #[test]
    fn a_buffer_that_grew_for_a_large_message_is_given_back() {
        let appetite = Appetite::default();
        assert!(appetite.is_too_large(256 << 20));
        assert!(!appetite.is_too_large(LEAST));
    }
}
