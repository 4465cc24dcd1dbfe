//! What a client does for its transaction, up to the vote. (From there on: `commits`.)

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeo_proto::{Oid, Tid, Value};

use super::client::{Ongoing, Stage, Waits};
use super::history::{Body, State, blob_bytes};
use super::steps::{What, Write};
use super::vote::{Check, Work};
use super::world::World;

/// Chunks of an upload, in bytes.
const CHUNK_BYTES: usize = 59_000;

impl World {
    fn begin(&mut self, at: usize, work: Work) {
        let id = self.clients[at].next_id();
        let (user, description) = (Value::from(&b"someone"[..]), Value::from(&b"something"[..]));
        let extension = Value::Dict(vec![]);
        self.post(
            at,
            "tpc_begin",
            &[Value::Int(id), user, description, extension, Value::None, Value::from(" ")],
        );
        self.clients[at].transaction =
            Some(Ongoing { id, work, stage: Stage::Collecting, locks: Default::default() });
    }

    pub(super) fn write(&mut self, at: usize, writes: &[Write]) {
        if self.clients[at].line.is_none() {
            return;
        }
        match &self.clients[at].transaction {
            None => self.begin(at, Work::Writes(Vec::new())),
            Some(Ongoing {
                work: Work::Writes(_), stage: Stage::Collecting | Stage::Conflicts(_), ..
            }) => {}
            Some(_) => return,
        }
        for write in writes {
            let check = self.check_of(at, write);
            self.send(at, check);
        }
        self.turn(at);
    }

    /// What a client that sees the storage as of its view says of the object.
    fn check_of(&self, at: usize, write: &Write) -> Check {
        let oid = write.oid;
        let view = self.view(at);
        let mut seen: Vec<_> = self.model.history.revisions(oid).map(|(tid, _)| tid).collect();
        seen.retain(|tid| *tid <= view);
        if write.stale {
            seen.pop();
        }
        let serial = seen.last().copied();
        let known = serial.unwrap_or(Tid::new(1));
        match &write.what {
            What::Store { value, references } => {
                let mut references = references.clone();
                references.retain(|oid| self.model.history.exists(*oid));
                let body = Body::Object { value: *value, references };
                Check::Store { oid, serial, state: State { body, blob: None } }
            }
            What::Blob { value, size } => {
                Check::Store { oid, serial, state: State { body: Body::Blob, blob: Some((*value, *size)) } }
            }
            What::Delete => Check::Delete { oid, serial: known },
            What::CheckCurrent => Check::Current { oid, serial: known },
        }
    }

    /// Sends one call of a transaction.
    fn send(&mut self, at: usize, check: Check) {
        let ongoing = self.clients[at].transaction.as_mut().expect("it was begun");
        let id = Value::Int(ongoing.id);
        ongoing.work.add(check.clone());
        match check {
            Check::Store { oid, serial, state: state @ State { blob: None, .. } } => {
                let oid = Value::from(Oid::new(oid));
                self.post(at, "storea", &[oid, Value::from(serial), Value::from(state.bytes()), id]);
            }
            Check::Store { oid, serial, state: state @ State { blob: Some(blob), .. } } => {
                self.post(at, "storeBlobStart", &[]);
                for chunk in blob_bytes(blob).chunks(CHUNK_BYTES) {
                    self.post(at, "storeBlobChunk", &[Value::from(chunk)]);
                }
                let oid = Value::from(Oid::new(oid));
                self.post(at, "storeBlobEnd", &[oid, Value::from(serial), Value::from(state.bytes()), id]);
            }
            Check::Delete { oid, serial } => {
                self.post(at, "deleteObject", &[Value::from(Oid::new(oid)), Value::from(serial), id]);
            }
            Check::Current { oid, serial } => {
                let args = [Value::from(Oid::new(oid)), Value::from(serial), id];
                self.post(at, "checkCurrentSerialInTransaction", &args);
            }
        }
    }

    pub(super) fn undo(&mut self, at: usize, back: &[usize]) {
        if self.clients[at].line.is_none() || self.clients[at].transaction.is_some() {
            return;
        }
        let mut tids: Vec<Tid> = back.iter().filter_map(|back| self.back(*back)).collect();
        tids.sort_unstable_by(|a, b| b.cmp(a));
        tids.dedup();
        self.begin(at, Work::Undo(tids.clone()));
        let id = self.clients[at].transaction.as_ref().expect("just begun").id;
        for tid in tids {
            let name = STANDARD.encode(tid.to_bytes());
            self.post(at, "undoa", &[Value::from(name.as_bytes()), Value::Int(id)]);
        }
        self.turn(at);
    }

    pub(super) fn go(&mut self, at: usize) {
        let Some(ongoing) = &mut self.clients[at].transaction else { return };
        match &mut ongoing.stage {
            Stage::Collecting => self.vote(at),
            Stage::Conflicts(conflicts) => {
                let conflicts = std::mem::take(conflicts);
                for (oid, committed) in conflicts {
                    self.resolve(at, oid, committed);
                }
                self.vote(at);
            }
            Stage::Voting => {}
            Stage::Voted(_) => self.finish(&[at]),
            Stage::Finishing => {}
        }
    }

    /// Everything up to the commit, where nobody else is in the way.
    pub(super) fn go_through(&mut self, at: usize) {
        for _ in 0..4 {
            self.go(at);
            self.run_all(at);
        }
    }

    /// Stores what is in conflict again, now built on the committed revision.
    fn resolve(&mut self, at: usize, conflicting: u64, committed: Tid) {
        let Some(Ongoing { work: Work::Writes(checks), .. }) = &self.clients[at].transaction else { return };
        let check = checks.iter().find_map(|check| match check {
            Check::Store { oid, state, .. } if *oid == conflicting => {
                Some(Check::Store { oid: *oid, serial: Some(committed), state: state.clone() })
            }
            _ => None,
        });
        if let Some(check) = check {
            self.send(at, check);
        }
    }

    pub(super) fn vote(&mut self, at: usize) {
        let Some(ongoing) = &mut self.clients[at].transaction else { return };
        if matches!(ongoing.stage, Stage::Collecting | Stage::Conflicts(_)) {
            ongoing.stage = Stage::Voting;
            let id = Value::Int(ongoing.id);
            self.call(at, "vote", &[id], Waits::Vote);
            self.turn(at);
            self.check_grants();
        }
    }

    pub(super) fn abort(&mut self, at: usize, uploads: bool) {
        let Some(ongoing) = self.clients[at].transaction.take() else { return };
        if matches!(ongoing.stage, Stage::Finishing) {
            self.clients[at].transaction = Some(ongoing);
            return;
        }
        self.count(match ongoing.stage {
            Stage::Collecting => "aborts before a vote",
            Stage::Voting => "aborts of a vote that is not answered",
            _ => "aborts after a vote",
        });
        let calls = self.clients[at].calls.values_mut();
        calls
            .filter(|asked| matches!(asked.what, Waits::Vote))
            .for_each(|vote| vote.what = Waits::AbortedVote);
        if uploads && matches!(ongoing.stage, Stage::Collecting) {
            self.post(at, "storeBlobStart", &[]);
            self.post(at, "storeBlobChunk", &[Value::from(&b"the beginning"[..])]);
        }
        self.post(at, "tpc_abort", &[Value::Int(ongoing.id)]);
        self.turn(at);
        self.check_grants();
    }
}
