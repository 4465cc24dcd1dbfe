use super::Cache;
use crate::Tid;

/// What a client must do before it may use its cache with a server that it has just registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: it has never heard of a transaction, or the server has made none since.
    Valid,
    /// Ask the server what has changed since this transaction (`getInvalidations`). Its answer `None` means that this is
    /// not in its history, or too long ago: the cache is dropped.
    Ask(Tid),
    /// The server lacks what the client has seen. It lags behind, or has lost that transaction; as long as that is not
    /// clear, the client must not use it (the stock client never does, and keeps the lost values for ever).
    Behind,
}

impl Verification {
    /// Compares what the client has seen with the last transaction that the server has registered it at. An empty cache
    /// is compared too: who has read a transaction must not read an earlier state afterwards.
    pub fn of(cache: &Cache, server: Tid) -> Self {
        match cache.last_tid() {
            Tid::ZERO => Self::Valid,
            seen if seen == server => Self::Valid,
            seen if seen < server => Self::Ask(seen),
            _ => Self::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_decides() {
        let mut cache = Cache::new(0);
        assert_eq!(Verification::of(&cache, Tid::new(5)), Verification::Valid);
        cache.advance(Tid::new(5));
        assert_eq!(Verification::of(&cache, Tid::new(5)), Verification::Valid);
        assert_eq!(Verification::of(&cache, Tid::new(6)), Verification::Ask(Tid::new(5)));
        assert_eq!(Verification::of(&cache, Tid::new(4)), Verification::Behind);
        assert_eq!(Verification::of(&cache, Tid::ZERO), Verification::Behind);
    }
}
