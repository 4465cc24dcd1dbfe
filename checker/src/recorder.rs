//! A history as a client in Rust goes along.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use zeo_proto::client::{Error, Event, Events, Revision};
use zodb_types::{Oid, Tid};

use crate::{Entry, History, Operation, Outcome, Write};

/// Writes down what a client does and is told, each time with the time since all began.
#[derive(Debug)]
pub struct Recorder {
    history: History,
    events: Events,
}

/// What stands for a record in a history.
pub fn value_of(data: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Recorder {
    /// Begins with nothing, for a client of this name that has these events.
    pub fn new(client: String, events: Events) -> Self {
        Self { history: History { client, entries: Vec::new() }, events }
    }

    fn note(&mut self, at: Duration, operation: Operation) {
        self.history.entries.push(Entry { at: Some(at.as_micros() as u64), operation });
    }

    /// A snapshot was taken. All that it includes was told before.
    pub fn begin(&mut self, at: Duration, start: Tid) {
        while let Some(event) = self.events.take() {
            match event {
                Event::Invalidated(told) => {
                    self.note(at, Operation::Invalidated { tid: told.tid, oids: told.oids.clone() });
                }
                Event::Connected { tid, .. } => self.note(at, Operation::Reconnected { tid }),
                _ => {}
            }
        }
        self.note(at, Operation::Begin { start });
    }

    /// An object was read; `None`: there is none.
    pub fn read(&mut self, at: Duration, oid: Oid, found: Option<&Revision>) {
        let (serial, value) = found.map(|found| (found.serial, value_of(&found.data))).unzip();
        self.note(at, Operation::Read { oid, serial, value });
    }

    /// A transaction is about to be committed: of each object, what it was changed from, and what it becomes.
    pub fn commit<'a>(
        &mut self,
        at: Duration,
        writes: impl IntoIterator<Item = (Oid, Option<Tid>, &'a [u8])>,
    ) {
        let write = |(oid, base, data)| Write { oid, base, value: value_of(data) };
        self.note(at, Operation::Commit { writes: writes.into_iter().map(write).collect() });
    }

    /// What became of it.
    pub fn outcome(&mut self, at: Duration, committed: &Result<Tid, Error>) {
        let outcome = match committed {
            Ok(tid) => Outcome::Committed(*tid),
            Err(Error::OutcomeUnknown(_)) => Outcome::Unknown,
            Err(_) => Outcome::Refused,
        };
        self.note(at, Operation::Outcome(outcome));
    }

    /// What is written down so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// All that was written down.
    pub fn into_history(self) -> History {
        self.history
    }
}
