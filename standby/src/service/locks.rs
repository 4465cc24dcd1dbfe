//! Who may change which objects: the locks that a transaction holds from its vote to its end.
//!
//! A pure table. A vote names everything that it needs ([`Claims`]); the locks are taken one after the other
//! in oid order, so that no two votes can wait for each other, and each lock serves its queue in turn, so that
//! nobody starves. Objects that are written are locked alone; objects that are only checked
//! (`checkCurrentSerialInTransaction`) are shared with others that check them. A transaction that brings its
//! own tid (a restore) takes the whole storage, since no other may come between its tid and its commit.

use std::collections::VecDeque;

use zeo_proto::Oid;

use super::publications::SessionId;

use crate::world::HashMap;

/// Whose locks: one transaction of one session. A session's next transaction is another owner, since it may ask for
/// its locks before those of the last one are given back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner {
    /// Of whom it is told when the locks are granted.
    pub session: SessionId,
    /// Unlike that of any other transaction of the storage since the server started.
    pub transaction: u64,
}

/// What a vote must lock, in the order in which it is taken, without duplicates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims(Vec<(Place, Mode)>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Place {
    Storage,
    Object(Oid),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Mode {
    Alone,
    Shared,
}

impl Claims {
    /// The whole storage, for a transaction that brings its own tid.
    pub fn storage() -> Self {
        Self(vec![(Place::Storage, Mode::Alone)])
    }

    /// These objects: the written ones alone, the checked ones shared.
    pub fn objects(written: impl IntoIterator<Item = Oid>, checked: impl IntoIterator<Item = Oid>) -> Self {
        let mut claims = vec![(Place::Storage, Mode::Shared)];
        claims.extend(written.into_iter().map(|oid| (Place::Object(oid), Mode::Alone)));
        claims.extend(checked.into_iter().map(|oid| (Place::Object(oid), Mode::Shared)));
        claims.sort_unstable();
        claims.dedup_by_key(|(place, _)| *place); // `Alone` sorts first and stays
        Self(claims)
    }

    fn covers(&self, other: &Self) -> bool {
        let held: HashMap<Place, Mode> = self.0.iter().copied().collect();
        held.get(&Place::Storage) == Some(&Mode::Alone)
            || other.0.iter().all(|(place, mode)| held.get(place).is_some_and(|held| held <= mode))
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// All locks are held.
    Granted,
    /// The owner is told when they are: it is named by a later [`LockTable::release`].
    Waiting,
}

/// The locks of one storage.
#[derive(Default, Debug)]
pub struct LockTable {
    locks: HashMap<Place, Lock>,
    owners: HashMap<Owner, Holding>,
    waiting: usize,
}

#[derive(Debug)]
struct Lock {
    mode: Mode,
    holders: u32,
    queue: VecDeque<(Owner, Mode)>,
}

#[derive(Debug)]
struct Holding {
    claims: Claims,
    taken: usize,
}

impl Holding {
    fn is_complete(&self) -> bool {
        self.taken == self.claims.0.len()
    }
}

impl LockTable {
    /// Asks for everything in `claims`. An owner that holds locks already (it votes again after its client has
    /// resolved conflicts) keeps them where they cover the new claims; else it gives them back first and waits
    /// its turn anew, since to wait while holding out of order could lock up for good. The second value names
    /// the owners that this let through.
    pub fn request(&mut self, owner: Owner, claims: Claims) -> (Answer, Vec<Owner>) {
        let mut granted = Vec::new();
        if let Some(holding) = self.owners.get(&owner) {
            assert!(holding.is_complete(), "{owner:?} asks for locks while it waits for some");
            if holding.claims.covers(&claims) {
                return (Answer::Granted, granted);
            }
            granted = self.release(owner);
        }
        self.owners.insert(owner, Holding { claims, taken: 0 });
        if self.advance(owner) {
            return (Answer::Granted, granted);
        }
        self.waiting += 1;
        (Answer::Waiting, granted)
    }

    /// Gives back what the owner holds and takes it out of the queue that it waits in. Names those who now have
    /// all of their locks, in the order in which they got them. An owner without locks is nothing special.
    pub fn release(&mut self, owner: Owner) -> Vec<Owner> {
        let Some(holding) = self.owners.remove(&owner) else { return Vec::new() };
        let mut granted = Vec::new();
        if !holding.is_complete() {
            self.waiting -= 1;
            let (place, _) = holding.claims.0[holding.taken];
            let lock = self.locks.get_mut(&place).expect("a lock that is waited for exists");
            lock.queue.retain(|(waiting, _)| *waiting != owner);
            self.serve_queue(place, &mut granted); // those behind it may fit now
        }
        for &(place, _) in &holding.claims.0[..holding.taken] {
            let lock = self.locks.get_mut(&place).expect("a held lock exists");
            lock.holders -= 1;
            self.serve_queue(place, &mut granted);
        }
        granted
    }

    /// How many owners wait for a lock.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The owners that wait for a lock.
    pub fn waiting_owners(&self) -> impl Iterator<Item = Owner> {
        self.owners.iter().filter(|(_, holding)| !holding.is_complete()).map(|(owner, _)| *owner)
    }

    /// Takes the owner's next locks until all are held (true) or one must be waited for (false).
    fn advance(&mut self, owner: Owner) -> bool {
        let holding = self.owners.get_mut(&owner).expect("an owner that advances is known");
        while let Some(&(place, mode)) = holding.claims.0.get(holding.taken) {
            let lock = self.locks.entry(place).or_insert_with(|| Lock::free(mode));
            if !(lock.queue.is_empty() && lock.admit(mode)) {
                lock.queue.push_back((owner, mode));
                return false;
            }
            holding.taken += 1;
        }
        true
    }

    /// Lets in those at the head of a lock's queue that fit, and each of them go on to its next locks.
    fn serve_queue(&mut self, place: Place, granted: &mut Vec<Owner>) {
        while let Some(lock) = self.locks.get_mut(&place) {
            match lock.queue.front().copied() {
                Some((owner, mode)) if lock.admit(mode) => {
                    lock.queue.pop_front();
                    self.owners.get_mut(&owner).expect("a queued owner is known").taken += 1;
                    if self.advance(owner) {
                        self.waiting -= 1;
                        granted.push(owner);
                    }
                }
                None if lock.holders == 0 => {
                    self.locks.remove(&place);
                }
                _ => return,
            }
        }
    }
}

impl Lock {
    fn free(mode: Mode) -> Self {
        Self { mode, holders: 0, queue: VecDeque::new() }
    }

    /// Adds a holder if the mode goes together with those who hold the lock now.
    fn admit(&mut self, mode: Mode) -> bool {
        let fits = self.holders == 0 || (self.mode == Mode::Shared && mode == Mode::Shared);
        if fits {
            self.mode = mode;
            self.holders += 1;
        }
        fits
    }
}

#[cfg(test)]
#[path = "locks_test.rs"]
mod tests;
