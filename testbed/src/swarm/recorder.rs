use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;
use standby_checker::{Entry, History, Operation, Outcome, Write};
use zeo_proto::client::{Event, Events, Revision};
use zeo_proto::{Oid, Tid};

/// Writes down what a client does and is told.
#[derive(Debug)]
pub(super) struct Recorder {
    history: History,
    events: Events,
    since: Instant,
}

/// What stands for a record in a history.
pub fn value_of(data: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Recorder {
    pub(super) fn new(client: String, events: Events, since: Instant) -> Self {
        Self { history: History { client, entries: Vec::new() }, events, since }
    }

    fn note(&mut self, operation: Operation) {
        let at = Some(self.since.elapsed().as_micros() as u64);
        self.history.entries.push(Entry { at, operation });
    }

    /// A snapshot was taken. All that it includes was told before.
    pub(super) fn begin(&mut self, start: Tid) {
        while let Some(event) = self.events.take() {
            match event {
                Event::Invalidated(told) => {
                    self.note(Operation::Invalidated { tid: told.tid, oids: told.oids.clone() });
                }
                Event::Connected { tid, .. } => self.note(Operation::Reconnected { tid }),
                _ => {}
            }
        }
        self.note(Operation::Begin { start });
    }

    pub(super) fn read(&mut self, oid: Oid, found: Option<&Revision>) {
        let (serial, value) = found.map(|found| (found.serial, value_of(&found.data))).unzip();
        self.note(Operation::Read { oid, serial, value });
    }

    pub(super) fn commit(&mut self, oid: Oid, base: Option<Tid>, data: &Bytes) {
        self.note(Operation::Commit { writes: vec![Write { oid, base, value: value_of(data) }] });
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        self.note(Operation::Outcome(outcome));
    }

    pub(super) fn into_history(self) -> History {
        self.history
    }
}
