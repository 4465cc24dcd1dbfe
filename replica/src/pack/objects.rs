use crate::Oid;

/// One bit for each of a number of things.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn all(count: usize) -> Self {
        Self(vec![u64::MAX; count.div_ceil(64)])
    }

    pub(super) fn get(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// Sets a bit. `false`: it was set before.
    pub(super) fn set(&mut self, at: usize) -> bool {
        let word = &mut self.0[at / 64];
        let before = *word;
        *word |= 1 << (at % 64);
        *word != before
    }
}

/// Oids with a position each, 16 bytes an object: while it is filled, up to twice that.
#[derive(Default)]
pub(super) struct Objects {
    /// Sorted by oid, each once, up to `settled`; behind that in the order of their coming.
    entries: Vec<(u64, u64)>,
    settled: usize,
}

/// Gathers at least so many before they are sorted in.
const GATHER: usize = 1 << 16;
/// Marks, in the lowest bit, a position where the object is no more.
const GONE: u64 = 1;

impl Objects {
    /// Notes the object's record at `position`, which is behind all before. `gone`: it is no more from there on.
    pub(super) fn note(&mut self, oid: Oid, position: u64, gone: bool) {
        self.entries.push((oid.get(), position << 1 | u64::from(gone)));
        if self.entries.len() - self.settled >= self.settled.max(GATHER) {
            crate::drainer::keep_latest(&mut self.entries);
            self.settled = self.entries.len();
        }
    }

    /// Nothing more comes. Objects that are no more are left out.
    pub(super) fn finish(&mut self) {
        crate::drainer::keep_latest(&mut self.entries);
        self.entries.retain(|(_, position)| position & GONE == 0);
        self.entries.iter_mut().for_each(|(_, position)| *position >>= 1);
        self.entries.shrink_to_fit();
        self.settled = self.entries.len();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&self, oid: Oid) -> Option<usize> {
        let entries = &self.entries;
        let (first, last) = (entries.first()?.0, entries.last()?.0);
        let oid = oid.get();
        if oid < first || oid > last {
            return None;
        }
        // Oids are given out in order, so that most are near where they would be without gaps.
        let guess = ((oid - first).min(entries.len() as u64 - 1)) as usize;
        if entries[guess].0 == oid {
            return Some(guess);
        }
        // With gaps, an oid is further to the front.
        let mut low = guess;
        let mut step = 16;
        while low > 0 && entries[low].0 > oid {
            low = low.saturating_sub(step);
            step *= 4;
        }
        entries[low..=guess].binary_search_by_key(&oid, |entry| entry.0).ok().map(|at| low + at)
    }

    pub(super) fn oid(&self, at: usize) -> Oid {
        Oid::new(self.entries[at].0)
    }

    pub(super) fn position(&self, at: usize) -> u64 {
        self.entries[at].1
    }

    pub(super) fn set_position(&mut self, at: usize, position: u64) {
        self.entries[at].1 = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_position_counts_and_the_gone_are_left_out() {
        let mut objects = Objects::default();
        for round in 0..3u64 {
            for oid in 0..60_000 {
                objects.note(Oid::new(oid * 3), round * 1_000_000 + oid, false);
            }
        }
        objects.note(Oid::new(30), 4_000_000, true);
        objects.note(Oid::new(33), 4_000_001, true);
        objects.note(Oid::new(33), 4_000_002, false);
        objects.finish();
        assert_eq!(objects.len(), 59_999);
        assert_eq!(objects.find(Oid::new(30)), None);
        assert_eq!(objects.find(Oid::new(31)), None);
        let at = objects.find(Oid::new(33)).expect("there");
        assert_eq!((objects.oid(at), objects.position(at)), (Oid::new(33), 4_000_002));
        for oid in (0..60_000).filter(|oid| ![10, 11].contains(oid)) {
            let at = objects.find(Oid::new(oid * 3)).expect("there");
            assert_eq!(objects.position(at), 2_000_000 + oid);
        }
        assert_eq!(objects.find(Oid::new(180_000)), None);
    }
}
