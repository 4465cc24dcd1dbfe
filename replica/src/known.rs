use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{PoisonError, RwLock};

use crate::Oid;
use crate::recent::Mix;

/// So many oids share a piece.
const PIECE_OIDS: u64 = 1 << 15;
const WORDS: usize = PIECE_OIDS as usize / 64;
/// With more pieces (4 KiB each) nothing is known any more.
const PIECES_MAX: usize = 1 << 14;

/// Which objects a storage has that was empty when it was opened: so that a copy in the making need not look in the
/// index file, for each object that it is given, to find that it does not have it.
///
/// Takes 64 MiB at most, good for 500 million oids that were given out one after the other.
pub(crate) struct Known(RwLock<Option<Pieces>>);

type Pieces = HashMap<u64, Box<[u64; WORDS]>, BuildHasherDefault<Mix>>;

impl Known {
    /// Of a storage that has nothing, or of which nothing is known.
    pub(crate) fn new(is_empty: bool) -> Self {
        Self(RwLock::new(is_empty.then(Pieces::default)))
    }

    pub(crate) fn insert(&self, oid: Oid) {
        let mut pieces = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &mut *pieces else { return };
        let (piece, word, bit) = place(oid);
        known.entry(piece).or_insert_with(|| Box::new([0; WORDS]))[word] |= bit;
        if known.len() > PIECES_MAX {
            *pieces = None;
        }
    }

    /// `true`: it was never inserted. `false`: it was, or nobody knows.
    pub(crate) fn lacks(&self, oid: Oid) -> bool {
        let pieces = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (piece, word, bit) = place(oid);
        pieces.as_ref().is_some_and(|known| known.get(&piece).is_none_or(|words| words[word] & bit == 0))
    }
}

fn place(oid: Oid) -> (u64, usize, u64) {
    let within = oid.get() % PIECE_OIDS;
    (oid.get() / PIECE_OIDS, (within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_not_lacked_and_what_was_not_is() {
        let known = Known::new(true);
        let some = [0, 1, 63, 64, PIECE_OIDS - 1, PIECE_OIDS, 1 << 40, u64::MAX];
        for (at, oid) in some.iter().enumerate() {
            assert!(known.lacks(Oid::new(*oid)));
            known.insert(Oid::new(*oid));
            assert!(some[..=at].iter().all(|oid| !known.lacks(Oid::new(*oid))));
        }
        assert!(known.lacks(Oid::new(2)) && known.lacks(Oid::new(PIECE_OIDS + 1)));
    }

    #[test]
    fn nothing_is_lacked_where_nothing_is_known() {
        let known = Known::new(false);
        assert!(!known.lacks(Oid::new(1)));
        let known = Known::new(true);
        for piece in 0..=PIECES_MAX as u64 {
            known.insert(Oid::new(piece * PIECE_OIDS));
        }
        assert!(!known.lacks(Oid::new(1)), "it has become too much");
    }
}
