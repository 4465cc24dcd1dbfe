//! One honest story, and every way in which it must not have been.

use standby_checker::{Entry, History, Kind, Operation, Outcome, Stored, Transaction, Verdict, Write, check};
use zodb_types::{Oid, Tid};

fn begin(start: u64) -> Operation {
    Operation::Begin { start: Tid::new(start) }
}

fn read(oid: u64, serial: u64, value: &str) -> Operation {
    Operation::Read { oid: Oid::new(oid), serial: Some(Tid::new(serial)), value: Some(value.to_owned()) }
}

fn commit(oid: u64, base: u64, value: &str) -> Operation {
    let base = (base > 0).then_some(Tid::new(base));
    Operation::Commit { writes: vec![Write { oid: Oid::new(oid), base, value: value.to_owned() }] }
}

fn committed(tid: u64) -> Operation {
    Operation::Outcome(Outcome::Committed(Tid::new(tid)))
}

fn refused() -> Operation {
    Operation::Outcome(Outcome::Refused)
}

fn unknown() -> Operation {
    Operation::Outcome(Outcome::Unknown)
}

fn told(tid: u64, oids: &[u64]) -> Operation {
    Operation::Invalidated { tid: Tid::new(tid), oids: oids.iter().map(|oid| Oid::new(*oid)).collect() }
}

fn connected(tid: u64) -> Operation {
    Operation::Reconnected { tid: Tid::new(tid) }
}

fn stored(tid: u64, writes: &[(u64, &str)]) -> Transaction {
    let stored =
        |(oid, value): &(u64, &str)| Stored { oid: Oid::new(*oid), value: Some((*value).to_owned()) };
    Transaction { tid: Tid::new(tid), writes: writes.iter().map(stored).collect(), follows: None }
}

/// What two clients saw, what has survived, and what was lost.
#[derive(Clone)]
struct Story {
    a: Vec<(u64, Operation)>,
    b: Vec<(u64, Operation)>,
    log: Vec<Transaction>,
    lost: Vec<Vec<Transaction>>,
}

/// `a` writes object 2 and `b` object 1; 40 is lost when another server takes over, which writes 50 and nothing in it;
/// 60 is there, and `a` does not know.
fn honest() -> Story {
    let first = Operation::Commit {
        writes: [(1, "a1"), (2, "a2")]
            .map(|(oid, value)| Write { oid: Oid::new(oid), base: None, value: value.to_owned() })
            .to_vec(),
    };
    Story {
        a: vec![
            (1, connected(0)),
            (2, first),
            (3, committed(10)),
            (13, told(20, &[1])),
            (14, begin(21)),
            (15, read(1, 20, "b1")),
            (16, read(2, 10, "a2")),
            (17, commit(2, 10, "a3")),
            (20, committed(30)),
            (30, commit(2, 30, "a4")),
            (33, committed(40)),
            (50, connected(50)),
            (51, begin(51)),
            (52, read(2, 30, "a3")),
            (53, commit(2, 30, "a5")),
            (60, unknown()),
        ],
        b: vec![
            (4, connected(10)),
            (5, begin(11)),
            (6, read(1, 10, "a1")),
            (7, commit(1, 10, "b1")),
            (12, committed(20)),
            (21, told(30, &[2])),
            (22, commit(1, 10, "b2")),
            (23, refused()),
            (34, told(40, &[2])),
            (35, begin(41)),
            (36, read(2, 40, "a4")),
            (55, connected(50)),
            (56, begin(51)),
            (57, read(2, 30, "a3")),
            (61, told(60, &[2])),
            (62, begin(61)),
            (63, read(2, 60, "a5")),
        ],
        log: vec![
            stored(10, &[(1, "a1"), (2, "a2")]),
            stored(20, &[(1, "b1")]),
            stored(30, &[(2, "a3")]),
            stored(50, &[]),
            stored(60, &[(2, "a5")]),
        ],
        lost: vec![vec![stored(40, &[(2, "a4")])]],
    }
}

impl Story {
    fn judged(&self) -> Verdict {
        let history = |client: &str, told: &[(u64, Operation)]| History {
            client: client.to_owned(),
            entries: told
                .iter()
                .map(|(at, operation)| Entry { at: Some(*at), operation: operation.clone() })
                .collect(),
        };
        check(&[history("a", &self.a), history("b", &self.b)], &self.log, &self.lost)
    }

    /// Puts something in the place of an operation.
    fn instead(operations: &mut [(u64, Operation)], this: &Operation, that: Operation) {
        let place =
            operations.iter_mut().find(|(_, operation)| operation == this).expect("it is in the story");
        place.1 = that;
    }

    fn without(operations: &mut Vec<(u64, Operation)>, this: &Operation) {
        operations.retain(|(_, operation)| operation != this);
    }
}

/// The story with something wrong in it is found out, and the fault is named.
fn wrong(kind: Kind, change: impl FnOnce(&mut Story)) -> Verdict {
    let mut story = honest();
    change(&mut story);
    let verdict = story.judged();
    assert!(verdict.names(kind), "{kind:?} is expected: {verdict}");
    verdict
}

#[test]
fn the_honest_story_is_believed() {
    let verdict = honest().judged();
    assert!(verdict.is_honest(), "{verdict}");
    let counts = verdict.counts;
    assert_eq!((counts.acknowledged, counts.acknowledged_lost), (4, 1));
    assert_eq!((counts.unknown_there, counts.unknown_gone, counts.reads), (1, 0, 7));
}

#[test]
fn what_is_unknown_may_be_gone() {
    let mut story = honest();
    story.log.pop();
    story.b.truncate(14);
    let verdict = story.judged();
    assert!(verdict.is_honest(), "{verdict}");
    assert_eq!((verdict.counts.unknown_there, verdict.counts.unknown_gone), (0, 1));
}

#[test]
fn what_several_nodes_report_lost_is_lost_once() {
    let mut story = honest();
    story.lost.push(story.lost[0].clone());
    assert!(story.judged().is_honest());
}

/// A boundary may be lost, too, with what came behind it; then there are two lost ends, and from its own only itself is seen.
#[test]
fn who_looks_from_a_lost_end_does_not_see_another_one() {
    let mut story = honest();
    story.log.remove(3);
    story.log.insert(3, Transaction { follows: Some(Tid::new(30)), ..stored(55, &[]) });
    story.lost.push(vec![Transaction { follows: Some(Tid::new(30)), ..stored(50, &[]) }]);
    let place = story.b.iter().position(|(_, operation)| *operation == told(60, &[2])).expect("it is there");
    story.b.insert(place, (58, told(55, &[])));
    let verdict = story.judged();
    assert!(verdict.is_honest(), "{verdict}");
    Story::instead(&mut story.a, &read(2, 30, "a3"), read(2, 40, "a4"));
    assert!(story.judged().names(Kind::NotCurrent));
}

#[test]
fn an_acknowledged_transaction_that_is_gone_without_a_word_is_missing() {
    let verdict = wrong(Kind::Missing, |story| story.lost.clear());
    let shown = verdict.to_string();
    assert!(shown.contains("0000000000000028 was acknowledged") && shown.contains("a line 10"), "{shown}");
    wrong(Kind::Missing, |story| drop(story.log.remove(2)));
}

#[test]
fn a_transaction_that_is_there_in_part_or_with_more_is_altered() {
    wrong(Kind::Altered, |story| drop(story.log[0].writes.pop()));
    wrong(Kind::Altered, |story| story.log[2].writes[0].value = Some("a4".to_owned()));
    wrong(Kind::Altered, |story| {
        story.log[4].writes.push(Stored { oid: Oid::new(1), value: Some("b2".to_owned()) });
    });
}

#[test]
fn a_log_out_of_order_is_found() {
    wrong(Kind::LogOrder, |story| story.log.swap(1, 2));
    wrong(Kind::LogOrder, |story| story.log.insert(2, story.log[1].clone()));
}

#[test]
fn a_tid_that_stands_for_two_transactions_is_found() {
    wrong(Kind::IssuedTwice, |story| story.lost[0][0].tid = Tid::new(50));
    wrong(Kind::IssuedTwice, |story| story.lost.push(vec![stored(40, &[(1, "b2")])]));
    wrong(Kind::IssuedTwice, |story| Story::instead(&mut story.b, &committed(20), committed(30)));
}

#[test]
fn tids_that_fall_are_found() {
    wrong(Kind::TidsFall, |story| {
        Story::instead(&mut story.a, &committed(30), committed(99));
        Story::instead(&mut story.a, &committed(40), committed(30));
    });
}

#[test]
fn a_lower_tid_for_what_began_after_the_answer_to_another_is_found() {
    // `b` is told 20 before `a` begins what becomes 30; were it 15, it would have come first.
    wrong(Kind::TimeOrder, |story| {
        Story::instead(&mut story.a, &committed(30), committed(15));
        story.log[2].tid = Tid::new(15);
    });
}

#[test]
fn a_refused_transaction_that_is_there_is_found() {
    wrong(Kind::RefusedYetThere, |story| story.log.push(stored(70, &[(1, "b2")])));
    wrong(Kind::RefusedYetThere, |story| story.lost[0].push(stored(45, &[(1, "b2")])));
}

#[test]
fn what_nobody_wrote_is_found() {
    wrong(Kind::NobodyWrote, |story| story.log.push(stored(70, &[(3, "x")])));
}

#[test]
fn a_change_on_the_basis_of_what_was_no_longer_current_is_found() {
    wrong(Kind::LostUpdate, |story| Story::instead(&mut story.b, &commit(1, 10, "b1"), commit(1, 5, "b1")));
    wrong(Kind::LostUpdate, |story| Story::instead(&mut story.a, &commit(2, 30, "a5"), commit(2, 40, "a5")));
}

#[test]
fn a_moment_that_never_was_is_found() {
    wrong(Kind::UnknownMoment, |story| Story::instead(&mut story.b, &begin(41), begin(36)));
}

#[test]
fn a_client_that_goes_back_is_found() {
    wrong(Kind::GoesBack, |story| Story::instead(&mut story.b, &begin(61), begin(31)));
    wrong(Kind::GoesBack, |story| Story::instead(&mut story.a, &begin(51), begin(31)));
}

#[test]
fn a_read_that_does_not_fit_its_moment_is_found() {
    // Older, newer, gone, and one that never was.
    wrong(Kind::NotCurrent, |story| Story::instead(&mut story.a, &read(1, 20, "b1"), read(1, 10, "a1")));
    wrong(Kind::NotCurrent, |story| Story::instead(&mut story.b, &read(1, 10, "a1"), read(1, 20, "b1")));
    wrong(Kind::NotCurrent, |story| Story::instead(&mut story.b, &read(2, 40, "a4"), read(2, 30, "a3")));
    let gone = Operation::Read { oid: Oid::new(1), serial: None, value: None };
    wrong(Kind::NotCurrent, |story| Story::instead(&mut story.a, &read(1, 20, "b1"), gone));
    wrong(Kind::NotCurrent, |story| Story::instead(&mut story.a, &read(1, 20, "b1"), read(1, 19, "b1")));
}

#[test]
fn a_lost_value_that_is_read_after_a_reconnection_is_stale() {
    let old = || read(2, 40, "a4");
    wrong(Kind::Stale, |story| Story::instead(&mut story.a, &read(2, 30, "a3"), old()));
    // Also from a moment that was chosen before.
    wrong(Kind::Stale, |story| story.b.insert(12, (55, old())));
}

#[test]
fn a_wrong_value_is_found() {
    wrong(Kind::WrongValue, |story| Story::instead(&mut story.a, &read(1, 20, "b1"), read(1, 20, "a1")));
}

#[test]
fn invalidations_out_of_order_are_found() {
    wrong(Kind::InvalidationOrder, |story| {
        Story::instead(&mut story.b, &told(30, &[2]), told(9, &[]));
    });
    wrong(Kind::InvalidationOrder, |story| story.b.insert(7, (21, told(30, &[2]))));
}

#[test]
fn an_invalidation_that_lacks_an_object_is_found() {
    wrong(Kind::InvalidationIncomplete, |story| {
        Story::instead(&mut story.a, &told(20, &[1]), told(20, &[2]))
    });
    wrong(Kind::InvalidationIncomplete, |story| Story::instead(&mut story.b, &told(40, &[2]), told(40, &[])));
}

#[test]
fn an_invalidation_that_did_not_come_is_found() {
    wrong(Kind::InvalidationSkipped, |story| Story::without(&mut story.b, &told(30, &[2])));
    wrong(Kind::InvalidationSkipped, |story| Story::without(&mut story.b, &told(60, &[2])));
}

#[test]
fn records_that_contradict_themselves_prove_nothing_and_are_said_to() {
    wrong(Kind::Malformed, |story| story.a.push((70, committed(70))));
    wrong(Kind::Malformed, |story| story.a.insert(0, (0, read(1, 10, "a1"))));
    wrong(Kind::Malformed, |story| Story::instead(&mut story.a, &commit(2, 30, "a4"), commit(2, 30, "a3")));
}
