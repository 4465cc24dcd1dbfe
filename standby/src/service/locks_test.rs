use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn write(oids: &[u64]) -> Claims {
    Claims::objects(oids.iter().map(|&n| Oid::new(n)), [])
}

fn check(oids: &[u64]) -> Claims {
    Claims::objects([], oids.iter().map(|&n| Oid::new(n)))
}

fn owner(number: u64) -> Owner {
    Owner { session: SessionId(number), transaction: number }
}

const A: Owner = Owner { session: SessionId(1), transaction: 1 };
const B: Owner = Owner { session: SessionId(2), transaction: 2 };
const C: Owner = Owner { session: SessionId(3), transaction: 3 };

#[test]
fn transactions_on_disjoint_objects_do_not_wait_for_each_other() {
    let mut table = LockTable::default();
    assert_eq!(table.request(A, write(&[1, 2])), (Answer::Granted, vec![]));
    assert_eq!(table.request(B, write(&[3])), (Answer::Granted, vec![]));
    assert_eq!(table.waiting(), 0);
}

#[test]
fn a_vote_on_a_locked_object_waits_for_its_release() {
    let mut table = LockTable::default();
    table.request(A, write(&[1, 2]));
    assert_eq!(table.request(B, write(&[2, 3])), (Answer::Waiting, vec![]));
    assert_eq!(table.waiting(), 1);
    assert_eq!(table.release(A), vec![B]);
    assert_eq!(table.waiting(), 0);
    assert_eq!(table.release(B), vec![]);
    assert!(table.locks.is_empty());
}

#[test]
fn checks_share_an_object_and_exclude_a_writer() {
    let mut table = LockTable::default();
    assert_eq!(table.request(A, check(&[1])).0, Answer::Granted);
    assert_eq!(table.request(B, check(&[1])).0, Answer::Granted);
    assert_eq!(table.request(C, write(&[1])).0, Answer::Waiting);
    assert_eq!(table.release(A), vec![]);
    assert_eq!(table.release(B), vec![C]);
}

#[test]
fn a_reader_does_not_overtake_a_waiting_writer() {
    let mut table = LockTable::default();
    table.request(A, check(&[1]));
    table.request(B, write(&[1]));
    assert_eq!(table.request(C, check(&[1])).0, Answer::Waiting);
    assert_eq!(table.release(A), vec![B]);
    assert_eq!(table.release(B), vec![C]);
}

#[test]
fn an_object_that_is_checked_and_written_is_locked_alone() {
    let claims = Claims::objects([Oid::new(1)], [Oid::new(1)]);
    assert_eq!(claims, write(&[1]));
}

#[test]
fn a_restore_has_the_storage_to_itself() {
    let mut table = LockTable::default();
    table.request(A, write(&[1]));
    assert_eq!(table.request(B, Claims::storage()).0, Answer::Waiting);
    assert_eq!(table.request(C, write(&[2])).0, Answer::Waiting);
    assert_eq!(table.release(A), vec![B]);
    assert_eq!(table.release(B), vec![C]);
}

#[test]
fn a_waiting_vote_that_goes_away_lets_those_behind_it_through() {
    let mut table = LockTable::default();
    table.request(A, check(&[1]));
    table.request(B, write(&[1]));
    table.request(C, check(&[1]));
    assert_eq!(table.release(B), vec![C]);
}

#[test]
fn a_second_vote_on_the_same_objects_keeps_its_locks() {
    let mut table = LockTable::default();
    table.request(A, write(&[1, 2]));
    table.request(B, write(&[1]));
    assert_eq!(table.request(A, write(&[1])), (Answer::Granted, vec![]));
    assert_eq!(table.request(A, check(&[2])), (Answer::Granted, vec![]));
    assert_eq!(table.waiting(), 1);
}

#[test]
fn a_second_vote_on_more_objects_waits_its_turn_anew() {
    let mut table = LockTable::default();
    table.request(A, write(&[5]));
    table.request(B, write(&[5]));
    assert_eq!(table.request(A, write(&[1, 5])), (Answer::Waiting, vec![B]));
    assert_eq!(table.release(B), vec![A]);
}

#[derive(Clone, Debug)]
enum Step {
    Request { owner: u64, written: Vec<u64>, checked: Vec<u64>, whole: bool },
    Release { owner: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request =
        (0..6u64, prop::collection::vec(0..5u64, 0..4), prop::collection::vec(0..5u64, 0..3), 0..12u8)
            .prop_map(|(owner, written, checked, whole)| Step::Request {
                owner,
                written,
                checked,
                whole: whole == 0,
            });
    let release = (0..6u64).prop_map(|owner| Step::Release { owner });
    prop::collection::vec(prop_oneof![3 => request, 2 => release], 1..60)
}

proptest! {
    /// At every step: no two owners hold what excludes each other, those said to wait do wait; and in the end,
    /// when everyone lets go in turn, everyone has been served and nothing is left.
    #[test]
    fn locks_exclude_and_nobody_waits_for_ever(steps in steps()) {
        let mut table = LockTable::default();
        let mut held: BTreeMap<Owner, Claims> = BTreeMap::new();
        let mut waiting: BTreeMap<Owner, Claims> = BTreeMap::new();
        for step in steps {
            let granted = match step {
                Step::Request { owner: number, .. } if waiting.contains_key(&owner(number)) => continue,
                Step::Request { owner: number, written, checked, whole } => {
                    let owner = owner(number);
                    let claims = if whole { Claims::storage() } else {
                        Claims::objects(written.into_iter().map(Oid::new), checked.into_iter().map(Oid::new))
                    };
                    let (answer, granted) = table.request(owner, claims.clone());
                    match answer {
                        Answer::Granted => {
                            let keeps = held.get(&owner).is_some_and(|before| before.covers(&claims));
                            if !keeps { held.insert(owner, claims); }
                        }
                        Answer::Waiting => { held.remove(&owner); waiting.insert(owner, claims); }
                    }
                    granted
                }
                Step::Release { owner: number } => {
                    held.remove(&owner(number));
                    waiting.remove(&owner(number));
                    table.release(owner(number))
                }
            };
            for owner in granted {
                let claims = waiting.remove(&owner).expect("only the waiting are granted");
                held.insert(owner, claims);
            }
            assert_exclusive(&held);
            prop_assert_eq!(table.waiting(), waiting.len());
        }
        while let Some((owner, _)) = held.pop_first() {
            for owner in table.release(owner) {
                let claims = waiting.remove(&owner).expect("only the waiting are granted");
                held.insert(owner, claims);
            }
            assert_exclusive(&held);
        }
        prop_assert!(waiting.is_empty(), "left waiting: {:?}", waiting);
        prop_assert!(table.locks.is_empty() && table.owners.is_empty());
    }
}

fn assert_exclusive(held: &BTreeMap<Owner, Claims>) {
    let mut alone: BTreeMap<Place, Owner> = BTreeMap::new();
    let mut shared: BTreeSet<Place> = BTreeSet::new();
    for (owner, claims) in held {
        for (place, mode) in &claims.0 {
            match mode {
                Mode::Alone => {
                    assert!(alone.insert(*place, *owner).is_none(), "{place:?} is held alone twice");
                }
                Mode::Shared => {
                    shared.insert(*place);
                }
            }
        }
    }
    assert!(alone.keys().all(|place| !shared.contains(place)));
}
