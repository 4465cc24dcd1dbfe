//! The cache beside a model of a server whose whole history is known.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::cache::{Cache, Revision};
use crate::{Oid, Tid};

fn revision(data: &'static [u8], serial: u64, end: Option<u64>) -> Revision {
    Revision { data: Bytes::from_static(data), serial: Tid::new(serial), end: end.map(Tid::new) }
}

const OID: Oid = Oid::new(1);

#[test]
fn an_invalidated_revision_is_found_by_those_who_look_from_before() {
    let mut cache = Cache::new(10_000);
    cache.store(OID, revision(b"one", 10, None));
    cache.invalidate(OID, Tid::new(20));
    cache.store(OID, revision(b"two", 20, None));
    let ask =
        |cache: &mut Cache, before| cache.load_before(OID, Tid::new(before)).map(|found| found.serial.get());
    assert_eq!(ask(&mut cache, 10), None);
    assert_eq!(ask(&mut cache, 11), Some(10));
    assert_eq!(ask(&mut cache, 20), Some(10));
    assert_eq!(ask(&mut cache, 21), Some(20));
    assert_eq!(cache.load_before(OID, Tid::MAX).map(|found| found.end), Some(None));
}

#[test]
fn what_lies_in_a_gap_between_known_revisions_is_not_answered() {
    let mut cache = Cache::new(10_000);
    cache.store(OID, revision(b"one", 10, Some(20)));
    cache.store(OID, revision(b"three", 30, None));
    assert_eq!(cache.load_before(OID, Tid::new(25)), None);
    assert!(cache.load_before(OID, Tid::new(31)).is_some());
}

#[test]
fn the_revision_that_an_own_commit_has_stored_survives_its_own_invalidation() {
    let mut cache = Cache::new(10_000);
    cache.store(OID, revision(b"mine", 10, None));
    cache.invalidate(OID, Tid::new(10));
    assert_eq!(cache.load_before(OID, Tid::MAX), Some(revision(b"mine", 10, None)));
}

#[test]
fn a_dropped_history_is_counted_and_starts_from_nothing() {
    let mut cache = Cache::new(10_000);
    cache.store(OID, revision(b"one", 10, None));
    cache.advance(Tid::new(10));
    cache.drop_history();
    assert_eq!((cache.load_before(OID, Tid::MAX), cache.last_tid(), cache.history()), (None, Tid::ZERO, 1));
    assert_eq!((cache.bytes(), cache.len()), (0, 0));
}

#[test]
fn the_least_used_go_first_and_the_largest_are_not_kept_at_all() {
    let mut cache = Cache::new(3 * 300);
    for oid in 1..=3 {
        cache.store(Oid::new(oid), Revision { data: vec![0; 100].into(), ..revision(b"", 10, None) });
    }
    assert!(cache.load_before(Oid::new(1), Tid::MAX).is_some());
    cache.store(Oid::new(4), Revision { data: vec![0; 100].into(), ..revision(b"", 10, None) });
    assert!(cache.load_before(Oid::new(2), Tid::MAX).is_none());
    for oid in [1, 3, 4] {
        assert!(cache.load_before(Oid::new(oid), Tid::MAX).is_some(), "{oid}");
    }
    cache.store(Oid::new(5), Revision { data: vec![0; 1_000].into(), ..revision(b"", 10, None) });
    assert!(cache.load_before(Oid::new(5), Tid::MAX).is_none());
    assert_eq!(cache.len(), 3);
}

/// What happens to a client's cache.
#[derive(Clone, Debug)]
enum Step {
    /// Someone commits these objects, and the client is told.
    Commit(Vec<u64>),
    /// The client loads what was current before a moment of the past (0: now), and keeps it.
    Load(u64, usize),
    /// The client is away while so many commits are made, and asks what has changed.
    Away(Vec<Vec<u64>>),
    /// The client is away, and cannot be told what has changed.
    Lost(Vec<Vec<u64>>),
    /// The client itself commits, and keeps what it has stored.
    OwnCommit(Vec<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let oids = || prop::collection::vec(0u64..6, 1..4);
    let step = prop_oneof![
        4 => oids().prop_map(Step::Commit),
        8 => (0u64..6, 0usize..12).prop_map(|(oid, back)| Step::Load(oid, back)),
        2 => prop::collection::vec(oids(), 0..4).prop_map(Step::Away),
        1 => prop::collection::vec(oids(), 0..4).prop_map(Step::Lost),
        3 => oids().prop_map(Step::OwnCommit),
    ];
    prop::collection::vec(step, 0..80)
}

/// A server's history: of each object, its serials.
#[derive(Default)]
struct Server {
    last: u64,
    serials: BTreeMap<u64, Vec<u64>>,
}

impl Server {
    fn commit(&mut self, oids: &[u64]) -> Tid {
        self.last += 1;
        for oid in oids {
            let serials = self.serials.entry(*oid).or_default();
            if serials.last() != Some(&self.last) {
                serials.push(self.last);
            }
        }
        Tid::new(self.last)
    }

    fn data(oid: u64, serial: u64) -> Bytes {
        Bytes::from(format!("{oid} at {serial}"))
    }

    fn load_before(&self, oid: u64, before: u64) -> Option<Revision> {
        let serials = self.serials.get(&oid)?;
        let place = serials.partition_point(|serial| *serial < before).checked_sub(1)?;
        let end = serials.get(place + 1).map(|end| Tid::new(*end));
        Some(Revision { data: Self::data(oid, serials[place]), serial: Tid::new(serials[place]), end })
    }
}

proptest! {
    #[test]
    fn a_cache_answers_as_the_server_does_or_not_at_all(steps in steps(), max_bytes in 0usize..3_000) {
        let (mut server, mut cache) = (Server::default(), Cache::new(max_bytes));
        for step in steps {
            match step {
                Step::Commit(oids) => {
                    let tid = server.commit(&oids);
                    oids.iter().for_each(|oid| cache.invalidate(Oid::new(*oid), tid));
                    cache.advance(tid);
                }
                Step::OwnCommit(oids) => {
                    let tid = server.commit(&oids);
                    for oid in oids {
                        cache.invalidate(Oid::new(oid), tid);
                        let data = Server::data(oid, tid.get());
                        cache.store(Oid::new(oid), Revision { data, serial: tid, end: None });
                    }
                    cache.advance(tid);
                }
                Step::Load(oid, back) => {
                    let before = (server.last + 1).saturating_sub(back as u64);
                    if let Some(loaded) = server.load_before(oid, before) {
                        cache.store(Oid::new(oid), loaded);
                    }
                }
                Step::Away(commits) => {
                    for oids in &commits {
                        server.commit(oids);
                    }
                    commits.iter().flatten().for_each(|oid| cache.forget(Oid::new(*oid)));
                    cache.advance(Tid::new(server.last));
                }
                Step::Lost(commits) => {
                    for oids in &commits {
                        server.commit(oids);
                    }
                    cache.drop_history();
                    cache.advance(Tid::new(server.last));
                }
            }
            prop_assert!(cache.bytes() <= max_bytes);
            prop_assert_eq!(cache.last_tid(), Tid::new(server.last));
            for oid in 0..6 {
                for before in (0..=server.last + 1).chain([Tid::MAX.get()]) {
                    if let Some(found) = cache.load_before(Oid::new(oid), Tid::new(before)) {
                        prop_assert_eq!(Some(found), server.load_before(oid, before), "{} before {}", oid, before);
                    }
                }
            }
        }
    }

    #[test]
    fn a_cache_that_is_large_enough_keeps_everything_that_it_was_told(steps in steps()) {
        let (mut server, mut cache) = (Server::default(), Cache::new(1 << 20));
        for step in steps {
            match step {
                Step::Commit(oids) => {
                    let tid = server.commit(&oids);
                    oids.iter().for_each(|oid| cache.invalidate(Oid::new(*oid), tid));
                    cache.advance(tid);
                }
                Step::Load(oid, back) => {
                    let before = (server.last + 1).saturating_sub(back as u64);
                    let Some(loaded) = server.load_before(oid, before) else { continue };
                    cache.store(Oid::new(oid), loaded.clone());
                    prop_assert_eq!(cache.load_before(Oid::new(oid), Tid::new(before)), Some(loaded));
                }
                _ => {}
            }
        }
    }
}
