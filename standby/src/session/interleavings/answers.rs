//! What a client is told, held against the model.
//!
//! | it is told | it must be |
//! |---|---|
//! | `invalidateTransaction`, the reply to its own `tpc_finish` | the next transaction after the one of which it was told last; all that was written |
//! | a load | as of the transaction of which it was told last |
//! | a vote | what comes of the committed revisions; nobody else has locks in its way |
//! | `loadSerial`, `getTid` | true at some moment between question and answer |
//! | `getInvalidations` | all that was changed, and nothing else |
//! | a blob | byte for byte what was stored |
//!
//! What was asked before a pack may be answered as before the pack.

use std::collections::BTreeSet;

use zeo_proto::{MsgId, Oid, Tid, Value};

use super::client::{Asked, Ongoing, Stage, Waits};
use super::history::{History, Load, Record, blob_bytes, shown};
use super::line::Heard;
use super::steps::CLIENTS;
use super::vote::{Outcome, Work};
use super::world::World;

const NO_OBJECT: &str = "ZODB.POSException.POSKeyError";

type Answer = Result<Value<'static>, String>;

impl World {
    /// A client takes what the server says to it.
    pub(super) fn listen(&mut self, at: usize, heard: Vec<Heard>) {
        for heard in heard {
            match heard {
                Heard::Push(method, args) => self.pushed(at, &method, &args),
                Heard::Reply(MsgId::Load(oid, before), answer) => self.loaded(at, oid, before, &answer),
                Heard::Reply(MsgId::Int(call), answer) => {
                    let asked = self.clients[at].calls.remove(&call);
                    let asked =
                        asked.unwrap_or_else(|| panic!("client {at} did not ask for {call}: {answer:?}"));
                    self.answered(at, call, &asked, answer);
                }
                other => panic!("client {at} does not understand {other:?}"),
            }
        }
    }

    fn pushed(&mut self, at: usize, method: &str, args: &[Value<'static>]) {
        match (method, args) {
            ("invalidateTransaction", [tid, oids]) => {
                let tid = tid.as_tid().expect("a tid");
                let oids = oid_set(oids);
                if at == CLIENTS && self.clients[at].seen == self.model.published.len() {
                    self.published(tid, oids.clone());
                }
                let next = self.model.published.get(self.clients[at].seen);
                assert_eq!(Some(&(tid, oids)), next, "the next transaction that client {at} is told of");
                self.clients[at].seen += 1;
            }
            ("info", [Value::Dict(_)]) => {}
            ("receiveBlobStart", [oid, serial]) => {
                let begun = (oid.as_oid().expect("an oid"), serial.as_tid().expect("a tid"), Vec::new());
                assert!(self.clients[at].download.replace(begun).is_none(), "two blobs at one time");
            }
            ("receiveBlobChunk", [oid, serial, chunk]) => {
                let download = self.clients[at].download.as_mut().expect("a blob was begun");
                assert_eq!((Some(download.0), Some(download.1)), (oid.as_oid(), serial.as_tid()));
                download.2.extend_from_slice(chunk.as_bytes().expect("bytes"));
            }
            ("receiveBlobStop", [oid, serial]) => {
                let download = self.clients[at].download.as_ref().expect("a blob was begun");
                assert_eq!((Some(download.0), Some(download.1)), (oid.as_oid(), serial.as_tid()));
            }
            other => panic!("client {at} does not understand {other:?}"),
        }
    }

    /// What the history was at one of the moments since there had been so many packs.
    fn histories(&self, packs: usize) -> impl Iterator<Item = &History> {
        [&self.model.history].into_iter().chain(&self.model.before_packs[packs..])
    }

    fn loaded(&mut self, at: usize, oid: Oid, before: Tid, answer: &Answer) {
        let loads = &mut self.clients[at].loads;
        let found = loads.iter().position(|(known, bound, _)| (*known, *bound) == (oid.get(), before));
        let (_, _, packs) = loads.remove(found.expect("it was asked for"));
        let answer = match answer {
            Ok(Value::None) => Load::NothingBefore,
            Ok(Value::Tuple(parts) | Value::List(parts)) => match &parts[..] {
                [data, serial, end] => Load::Revision {
                    data: shown(data.as_bytes().expect("data")),
                    serial: serial.as_tid().expect("a serial"),
                    end: end.as_tid(),
                },
                other => panic!("no revision: {other:?}"),
            },
            Err(class) if class == NO_OBJECT => Load::NoObject,
            other => panic!("no answer to a load: {other:?}"),
        };
        self.count(match &answer {
            Load::Revision { end: None, .. } => "loads of the current revision",
            Load::Revision { .. } => "loads of an older revision",
            Load::NothingBefore => "loads of before an object's creation",
            Load::NoObject => "loads of nothing",
        });
        let view = self.view(at);
        let is_right = |history: &History| match (history.load(oid.get(), before, view), &answer) {
            // The object is created after the view. It is not told apart from one that is created after `before`.
            (Load::NoObject, Load::NothingBefore) => {
                before <= view && history.current(oid.get(), view).is_none()
            }
            (expected, answer) => expected == *answer,
        };
        assert!(
            self.histories(packs).any(is_right),
            "client {at} loads {oid} before {before} as of {view}: {answer:?} instead of {:?}",
            self.model.history.load(oid.get(), before, view)
        );
    }

    fn answered(&mut self, at: usize, call: i64, asked: &Asked, answer: Answer) {
        match &asked.what {
            Waits::Register => {
                let tid = answer.expect("registered").as_tid().expect("a tid");
                let last = self.model.published.last().map_or(Tid::ZERO, |(tid, _)| *tid);
                assert_eq!(tid, last, "a client begins with what is published");
                self.clients[at].seen = self.model.published.len();
            }
            Waits::Vote => self.voted(at, asked, answer),
            Waits::AbortedVote => {}
            Waits::Finish => {
                let tid = answer.expect("a vote was taken back").as_tid().expect("a tid");
                let next = self.model.published.get(self.clients[at].seen).map(|(tid, _)| *tid);
                assert_eq!(Some(tid), next, "client {at} is told of its own transaction in its turn");
                self.clients[at].seen += 1;
                self.clients[at].transaction = None;
                self.count("commits");
            }
            Waits::LastTransaction => {
                assert_eq!(answer.expect("answered").as_tid(), Some(self.view(at)), "what client {at} knows");
            }
            Waits::GetTid(oid) => {
                let answer = found(answer).map(|tid| tid.as_tid().expect("a tid"));
                // As with ZODB, one that was undone to a deletion has a tid, and no state.
                let is_there = |record: &Record| record.state.is_some() || record.points_to.is_some();
                let at_moment = |history: &History, view: Tid| {
                    history.current(*oid, view).filter(|(_, record)| is_there(record)).map(|(tid, _)| tid)
                };
                let shown = format!("{answer:?}");
                self.check_moment(at, asked, &shown, |history, view| at_moment(history, view) == answer);
            }
            Waits::LoadSerial(oid, tid) => {
                let answer = found(answer).map(|data| shown(data.as_bytes().expect("data")));
                let is_right = |history: &History, view: Tid| {
                    let record = history.record(*oid, *tid).filter(|_| *tid <= view);
                    let data = record
                        .and_then(|record| Some((record.linked, shown(&record.state.as_ref()?.bytes()))));
                    match (data, &answer) {
                        (Some((linked, _)), None) => !linked, // it is there, but no revision of the object
                        (Some((_, data)), Some(answer)) => data == *answer,
                        (None, answer) => answer.is_none(),
                    }
                };
                self.check_moment(at, asked, &format!("{answer:?}"), is_right);
            }
            Waits::Invalidations(since) => self.invalidations(at, asked, *since, answer),
            Waits::Blob(oid, tid) => {
                assert_eq!(self.clients[at].downloads.pop_front(), Some(call), "blobs come in order");
                let download = self.clients[at].download.take();
                let answer = found(answer).map(|_| download.expect("a blob came").2);
                let is_right = |history: &History| {
                    let state = history.record(*oid, *tid).and_then(|record| record.state.as_ref());
                    state.and_then(|state| state.blob).map(blob_bytes) == answer
                };
                let length = answer.as_ref().map(Vec::len);
                assert!(self.histories(asked.packs).any(is_right), "blob {oid} of {tid}: {length:?} bytes");
                self.count("blobs");
            }
            Waits::Pack => {
                let failed = self.clients[at].pack_failed.pop_front().expect("it was done");
                assert_eq!(answer.is_err(), failed, "a pack of client {at}: {answer:?}");
            }
        }
    }

    /// The answer is true at one of the moments between question and answer.
    fn check_moment(&self, at: usize, asked: &Asked, answer: &str, is_right: impl Fn(&History, Tid) -> bool) {
        let views = asked.published.saturating_sub(1)..self.clients[at].seen;
        let views = views.map(|last| self.model.published[last].0).collect::<Vec<_>>();
        let mut histories = self.histories(asked.packs);
        assert!(
            histories.any(|history| views.iter().any(|view| is_right(history, *view))),
            "client {at}: the answer to {:?} was true at no time: {answer}",
            asked.what
        );
    }

    fn voted(&mut self, at: usize, asked: &Asked, answer: Answer) {
        let ongoing = self.clients[at].transaction.take().expect("it has voted");
        let mut outcomes: Vec<Outcome> =
            self.histories(asked.packs).map(|history| ongoing.work.vote(history)).collect();
        let found = outcomes.iter().position(|outcome| is_outcome(outcome, &answer));
        let Some(found) = found else {
            panic!("client {at} votes with {:?}: {answer:?} instead of {outcomes:?}", ongoing.work);
        };
        self.count(match (&outcomes[found], &ongoing.work) {
            (Outcome::Ready { .. }, Work::Writes(_)) => "votes",
            (Outcome::Ready { .. }, Work::Undo(_)) => "votes for an undo",
            (Outcome::Conflicts(_), _) => "votes with conflicts",
            (Outcome::Refused(_), Work::Writes(_)) => "votes refused",
            (Outcome::Refused(_), Work::Undo(_)) => "votes for an undo refused",
        });
        let Ongoing { id, work, .. } = ongoing;
        let stage = match outcomes.swap_remove(found) {
            Outcome::Refused(_) => return,
            Outcome::Conflicts(conflicts) => {
                Stage::Conflicts(conflicts.into_iter().map(|(oid, committed, _)| (oid, committed)).collect())
            }
            Outcome::Ready { records, .. } => Stage::Voted(records),
        };
        let locks = work.claims(&self.model.history);
        self.check_that_nobody_is_in_the_way(at, &locks);
        self.clients[at].transaction = Some(Ongoing { id, work, stage, locks });
    }

    fn invalidations(&mut self, at: usize, asked: &Asked, since: Tid, answer: Answer) {
        let answer = answer.expect("answered");
        self.count("answers to getInvalidations");
        let changed = |until: usize| {
            let range = self.model.published[..until].iter().filter(|(tid, _)| *tid > since);
            range.flat_map(|(_, oids)| oids.iter().copied()).collect::<BTreeSet<u64>>()
        };
        let seen = self.clients[at].seen;
        if answer == Value::None {
            let behind = self.model.published[..seen].iter().filter(|(tid, _)| *tid > since).count();
            let too_many = self.model.queue.is_some_and(|queue| behind >= queue);
            // Where the transaction has been dropped, or there was none, nothing is known.
            let unknown = self.model.history.transaction(since).is_none();
            assert!(too_many || unknown, "client {at} drops its cache, {behind} transactions after {since}");
            return;
        }
        let [view, oids] = answer.as_sequence().expect("a pair") else { panic!("no pair: {answer:?}") };
        let view = view.as_tid().expect("a tid");
        let known = self.model.published.iter().position(|(tid, _)| *tid == view).map_or(0, |last| last + 1);
        assert!((asked.seen..=seen).contains(&known), "client {at} is told of {view}");
        let oids = oid_set(oids);
        // What a pack dropped is not told where it is read from the log.
        let is_there = |oid: &u64| {
            self.model.before_packs.is_empty() || {
                let mut later = self.model.history.revisions(*oid);
                later.any(|(tid, _)| tid > since && tid <= view)
            }
        };
        let wanted: BTreeSet<u64> = changed(known).into_iter().filter(is_there).collect();
        assert!(
            wanted.is_subset(&oids),
            "client {at} asks what changed since {since}: {oids:?}, not {wanted:?}"
        );
        assert!(oids.is_subset(&changed(seen)), "client {at} is told too much: {oids:?}");
    }
}

/// An answer, where it is not that there is no such thing.
fn found(answer: Answer) -> Option<Value<'static>> {
    match answer {
        Ok(value) => Some(value),
        Err(class) if class == NO_OBJECT => None,
        Err(class) => panic!("refused with {class}"),
    }
}

fn oid_set(oids: &Value<'_>) -> BTreeSet<u64> {
    let oids = oids.as_sequence().expect("a list");
    let set: BTreeSet<u64> = oids.iter().map(|oid| oid.as_oid().expect("an oid").get()).collect();
    assert_eq!(set.len(), oids.len(), "every object once");
    set
}

fn is_outcome(outcome: &Outcome, answer: &Answer) -> bool {
    match (outcome, answer) {
        (Outcome::Refused(expected), Err(class)) => class == expected,
        (Outcome::Ready { undone, .. }, Ok(value)) => {
            let items = value.as_sequence().unwrap_or_default();
            let oids: Option<BTreeSet<u64>> = items.iter().map(|oid| Some(oid.as_oid()?.get())).collect();
            oids.as_ref() == Some(undone)
        }
        (Outcome::Conflicts(expected), Ok(value)) => {
            let items = value.as_sequence().unwrap_or_default();
            let conflict = |item: &Value<'_>| {
                let oid = item.item("oid")?.as_oid()?.get();
                let [committed, given] = item.item("serials")?.as_sequence()? else { return None };
                Some((oid, committed.as_tid()?, given.as_tid()))
            };
            items.iter().map(conflict).collect::<Option<Vec<_>>>().as_ref() == Some(expected)
        }
        _ => false,
    }
}
