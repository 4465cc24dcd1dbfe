use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Oid, Tid};

const SHARDS: usize = 64;
/// Marks a position that the index file does not have yet.
const DIRTY: u64 = 1 << 63;

/// Positions of current records in memory: all that the index file does not have yet (*dirty*), and as many of
/// those used last as there is room for (*clean*).
///
/// A reader that does not find a position here gets it from the index file and puts it here for the next one,
/// unless a commit has changed anything in its shard in between: then what it read may be old.
pub(crate) struct Recent {
    shards: Box<[Shard]>,
    entries_max: usize,
}

#[repr(align(128))]
struct Shard(Mutex<Entries>);

struct Entries {
    known: HashMap<u64, Known, BuildHasherDefault<Mix>>,
    dirty: usize,
    /// Counts the commits that changed this shard.
    version: u64,
    sweeps: u64,
}

/// A position, and what goes with it.
#[derive(Clone, Copy)]
struct Known {
    /// With [`DIRTY`], if it is.
    position: u64,
    /// The transaction of a record with data, where that is known without reading it; else zero.
    serial: u64,
}

/// What is known of an object's position.
pub(crate) enum Found {
    At(u64),
    /// Nothing; with it, a position from the index file can be handed in later.
    Unknown(Version),
}

/// The state of a shard before the index file was read.
#[derive(Clone, Copy)]
pub(crate) struct Version(u64);

impl Recent {
    /// At most about `entries_max` clean positions.
    pub(crate) fn new(entries_max: usize) -> Self {
        let shards = (0..SHARDS)
            .map(|_| {
                let entries = Entries { known: HashMap::default(), dirty: 0, version: 0, sweeps: 0 };
                Shard(Mutex::new(entries))
            })
            .collect();
        Self { shards, entries_max: entries_max.div_ceil(SHARDS) }
    }

    pub(crate) fn find(&self, oid: Oid) -> Found {
        let shard = self.shard(oid);
        match shard.known.get(&oid.get()) {
            Some(known) => Found::At(known.position & !DIRTY),
            None => Found::Unknown(Version(shard.version)),
        }
    }

    /// A position that a reader took from the index file.
    pub(crate) fn remember(&self, oid: Oid, position: u64, seen: Version) {
        let mut shard = self.shard(oid);
        if shard.version != seen.0 {
            return;
        }
        if shard.known.len() - shard.dirty >= self.entries_max {
            shard.sweep();
        }
        if self.entries_max > 0 {
            shard.known.entry(oid.get()).or_insert(Known { position, serial: 0 });
        }
    }

    /// The transaction of the object's last record, where that has data and its commit is remembered.
    pub(crate) fn serial(&self, oid: Oid) -> Option<Tid> {
        let serial = self.shard(oid).known.get(&oid.get())?.serial;
        (serial != 0).then_some(Tid::new(serial))
    }

    /// A position that a commit made, with the transaction if its record has data.
    pub(crate) fn commit(&self, oid: Oid, position: u64, serial: Option<Tid>) {
        debug_assert_eq!(position & DIRTY, 0);
        let mut shard = self.shard(oid);
        shard.version += 1;
        let serial = serial.map_or(0, Tid::get);
        let before = shard.known.insert(oid.get(), Known { position: position | DIRTY, serial });
        if before.is_none_or(|before| before.position & DIRTY == 0) {
            shard.dirty += 1;
        }
    }

    /// These positions are in the index file now. Those that have changed since stay dirty.
    pub(crate) fn clean(&self, written: &[(u64, u64)]) {
        for &(oid, position) in written {
            let mut shard = self.shard(Oid::new(oid));
            let Some(entry) = shard.known.get_mut(&oid) else {
                panic!("the position of {oid:#x} was dropped before the index file had it");
            };
            if entry.position == position | DIRTY {
                entry.position = position;
                shard.dirty -= 1;
                if shard.known.len() - shard.dirty > self.entries_max {
                    shard.sweep();
                }
            }
        }
    }

    /// These have changed in the index file, which has everything now.
    pub(crate) fn forget(&self, oids: impl Iterator<Item = Oid>) {
        for oid in oids {
            let mut shard = self.shard(oid);
            shard.version += 1;
            let known = shard.known.remove(&oid.get());
            assert!(known.is_none_or(|known| known.position & DIRTY == 0), "the index file has everything");
        }
    }

    /// Hands over all positions. What is committed meanwhile may be among them or not.
    pub(crate) fn each(&self, mut take: impl FnMut(Oid, u64)) {
        for shard in &self.shards {
            let entries = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known: Vec<(u64, u64)> =
                entries.known.iter().map(|(oid, known)| (*oid, known.position & !DIRTY)).collect();
            drop(entries);
            known.into_iter().for_each(|(oid, position)| take(Oid::new(oid), position));
        }
    }

    fn shard(&self, oid: Oid) -> MutexGuard<'_, Entries> {
        let number = (oid.get() / 16).wrapping_mul(0xd6e8_feb8_6659_fd93) >> (64 - SHARDS.ilog2());
        self.shards[number as usize].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Drops about an eighth of the clean positions, another eighth each time.
    fn sweep(&mut self) {
        self.sweeps += 1;
        let turn = self.sweeps % 8;
        self.known.retain(|oid, known| known.position & DIRTY != 0 || mix(*oid) >> 61 != turn);
    }
}

fn mix(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ (product >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A hash of one number. Sixteen that follow each other lie beside each other: the objects of a transaction often have
/// such oids, and what is asked for one after the other then is in the processor's cache. Oids are given out in order by
/// the server, so nobody gains by choosing them.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let number = self.0 ^ number;
        // The table takes the place from the lowest bits, and tells entries apart by the seven highest.
        let within = number % 16;
        self.0 = (mix(number / 16) & !15) ^ (within | within << 57);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(recent: &Recent, oid: u64) -> Option<u64> {
        match recent.find(Oid::new(oid)) {
            Found::At(position) => Some(position),
            Found::Unknown(_) => None,
        }
    }

    fn remember(recent: &Recent, oid: u64, position: u64) {
        let Found::Unknown(version) = recent.find(Oid::new(oid)) else { return };
        recent.remember(Oid::new(oid), position, version);
    }

    #[test]
    fn a_position_read_before_a_commit_does_not_replace_the_commits() {
        let recent = Recent::new(1000);
        let Found::Unknown(version) = recent.find(Oid::new(5)) else { panic!("nothing is known yet") };
        recent.commit(Oid::new(5), 200, None);
        recent.remember(Oid::new(5), 100, version);
        assert_eq!(position(&recent, 5), Some(200));
    }

    #[test]
    fn clean_positions_make_room_and_dirty_ones_stay() {
        let recent = Recent::new(640);
        for oid in 0..5000 {
            recent.commit(Oid::new(oid), oid + 4, None);
        }
        for oid in 5000..20_000 {
            remember(&recent, oid, oid + 4);
        }
        assert!((0..5000).all(|oid| position(&recent, oid) == Some(oid + 4)));
        let kept = (5000..20_000).filter(|oid| position(&recent, *oid).is_some()).count();
        assert!((300..=640).contains(&kept), "{kept}");

        recent.clean(&(0..5000).map(|oid| (oid, oid + 4)).collect::<Vec<_>>());
        let kept = (0..20_000).filter(|oid| position(&recent, *oid).is_some()).count();
        assert!((300..=640).contains(&kept), "{kept}");
    }

    #[test]
    fn a_position_that_changed_while_it_was_written_stays_dirty() {
        let recent = Recent::new(100);
        recent.commit(Oid::new(1), 10, None);
        recent.commit(Oid::new(1), 20, None);
        recent.clean(&[(1, 10)]);
        assert_eq!((position(&recent, 1), recent.shard(Oid::new(1)).dirty), (Some(20), 1));
        recent.clean(&[(1, 20)]);
        assert_eq!((position(&recent, 1), recent.shard(Oid::new(1)).dirty), (Some(20), 0));
    }

    #[test]
    fn the_serial_is_that_of_the_last_commit_and_of_no_other_position() {
        let recent = Recent::new(100);
        let serial = |recent: &Recent| recent.serial(Oid::new(1)).map(Tid::get);
        remember(&recent, 1, 10);
        assert_eq!(serial(&recent), None);
        recent.commit(Oid::new(1), 20, Some(Tid::new(7)));
        assert_eq!(serial(&recent), Some(7));
        recent.clean(&[(1, 20)]);
        assert_eq!(serial(&recent), Some(7));
        recent.commit(Oid::new(1), 30, None);
        assert_eq!(serial(&recent), None);
    }
}
