//! Memory for received messages of middling length, used again and again.
//!
//! The allocator gives memory of this size back to the system whenever a burst of messages has been worked off, and the
//! next burst pays for every page anew. Measured with messages of 64 KiB, both ends together: a hundred times fewer page
//! faults, and a quarter less CPU time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What one buffer holds, in bytes: a message of this length, or shorter.
const BUFFER_BYTES: usize = 64 << 10;
/// Shorter messages are better served by the allocator.
const WORTHWHILE_BYTES: usize = 8 << 10;
/// Buffers that wait for use, 16 MiB in all: what a sink writes to its log in one go comes back in one go.
const SPARE_MAX: usize = 256;

/// Buffers that wait for use. Clones share them.
#[derive(Clone, Default)]
pub struct Pool {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    /// Memory for `bytes`, empty; up to `at_once_max` of it is set aside at once.
    pub fn take(&self, bytes: usize, at_once_max: usize) -> Vec<u8> {
        if !(WORTHWHILE_BYTES..=BUFFER_BYTES).contains(&bytes) {
            return Vec::with_capacity(bytes.min(at_once_max));
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Makes a message of what was taken; its memory comes back when the last reference to it is dropped.
    pub fn share(&self, bytes: Vec<u8>) -> Bytes {
        if bytes.capacity() != BUFFER_BYTES {
            return bytes.into();
        }
        Bytes::from_owner(Lent { bytes, pool: self.clone() })
    }
}

struct Lent {
    bytes: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut spare = self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pool: &Pool, content: &[u8]) -> Bytes {
        let mut bytes = pool.take(content.len(), usize::MAX);
        bytes.extend_from_slice(content);
        pool.share(bytes)
    }

    #[test]
    fn memory_is_used_again_only_when_nobody_holds_its_message() {
        let pool = Pool::default();
        let first = message(&pool, &[1; 20_000]);
        let slice = first.slice(10_000..);
        let place = first.as_ptr();
        drop(first);
        let second = message(&pool, &[2; 30_000]);
        assert_ne!(second.as_ptr(), place);
        assert_eq!(slice, [1; 10_000][..]);
        drop(slice);
        assert_eq!(message(&pool, &[3; 64 << 10]).as_ptr(), place);
        assert_eq!(second, [2; 30_000][..]);
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let pool = Pool::default();
        let messages: Vec<Bytes> = (0..2 * SPARE_MAX).map(|_| message(&pool, &[0; 20_000])).collect();
        drop(messages);
        assert_eq!(pool.spare.lock().unwrap().len(), SPARE_MAX);
        for length in [0, WORTHWHILE_BYTES - 1, BUFFER_BYTES + 1] {
            assert_eq!(message(&pool, &vec![7; length]).len(), length);
        }
        assert_eq!(pool.spare.lock().unwrap().len(), SPARE_MAX);
    }
}
