//! A store that keeps its promises, and its clients.

use std::collections::BTreeMap;

use proptest::prelude::*;
use standby_checker::{Entry, History, Operation, Outcome, Stored, Transaction, Write};
use zodb_types::{Oid, Tid};

const CLIENTS: usize = 3;
const OBJECTS: u64 = 4;

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A client begins anew.
    Begin(usize),
    /// It reads an object.
    Read(usize, u64),
    /// It writes objects that it has read, and is answered, refused, or cut off before or after its commit.
    Commit(usize, Vec<u64>, Ending),
    /// It takes what it was told.
    Hear(usize),
    /// The server is lost with its last transactions; another one takes its place.
    Failover(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Answered,
    CutOffBefore,
    CutOffAfter,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let ending = prop_oneof![
        6 => Just(Ending::Answered), 1 => Just(Ending::CutOffBefore), 1 => Just(Ending::CutOffAfter)
    ];
    let step = prop_oneof![
        3 => client().prop_map(Step::Begin),
        6 => (client(), 1..=OBJECTS).prop_map(|(client, oid)| Step::Read(client, oid)),
        6 => (client(), prop::collection::btree_set(1..=OBJECTS, 1..3), ending)
            .prop_map(|(client, oids, ending)| Step::Commit(client, oids.into_iter().collect(), ending)),
        4 => client().prop_map(Step::Hear),
        1 => (0usize..4).prop_map(Step::Failover),
    ];
    prop::collection::vec(step, 20..120)
}

#[derive(Clone, Default)]
struct Client {
    entries: Vec<Entry>,
    /// The last transaction that it knows of, and those of others that it has not taken note of.
    known: u64,
    waiting: Vec<(u64, Vec<u64>)>,
    start: Option<u64>,
    commits: u64,
    is_cut_off: bool,
}

/// A store that keeps its promises, and its clients.
#[derive(Clone, Default)]
pub(crate) struct Model {
    clients: Vec<Client>,
    pub(crate) log: Vec<Transaction>,
    pub(crate) lost: Vec<Vec<Transaction>>,
    /// All of both, by branch: what one who knows a transaction has seen.
    worlds: BTreeMap<u64, Vec<Transaction>>,
    tid: u64,
    time: u64,
}

impl Model {
    pub(crate) fn after(steps: &[Step]) -> Self {
        let mut model = Self { clients: vec![Client::default(); CLIENTS], ..Self::default() };
        model.worlds.insert(0, Vec::new());
        for client in 0..CLIENTS {
            model.connect(client);
        }
        steps.iter().for_each(|step| model.step(step));
        // So that nothing is left which nobody can know about.
        for client in 0..CLIENTS {
            model.hear(client);
            model.begin(client);
            (1..=OBJECTS).for_each(|oid| model.read(client, oid));
        }
        model
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin(client) => self.begin(*client),
            Step::Read(client, oid) => self.read(*client, *oid),
            Step::Commit(client, oids, ending) => self.commit(*client, oids, *ending),
            Step::Hear(client) => self.hear(*client),
            Step::Failover(count) => self.fail_over(*count),
        }
    }

    fn note(&mut self, client: usize, operation: Operation) {
        self.time += 1;
        self.clients[client].entries.push(Entry { at: Some(self.time), operation });
    }

    fn last(&self) -> u64 {
        self.log.last().map_or(0, |transaction| transaction.tid.get())
    }

    fn connect(&mut self, client: usize) {
        let last = self.last();
        let state = &mut self.clients[client];
        (state.known, state.is_cut_off, state.start) = (last, false, None);
        state.waiting.clear();
        self.note(client, Operation::Reconnected { tid: Tid::new(last) });
    }

    fn begin(&mut self, client: usize) {
        if self.clients[client].is_cut_off {
            self.connect(client);
        }
        let start = self.clients[client].known + 1;
        self.clients[client].start = Some(start);
        self.note(client, Operation::Begin { start: Tid::new(start) });
    }

    fn found(&self, last: u64, oid: u64) -> Option<(u64, String)> {
        let world = &self.worlds[&last];
        world.iter().rev().find_map(|transaction| {
            let write = transaction.writes.iter().find(|write| write.oid.get() == oid)?;
            Some((transaction.tid.get(), write.value.clone().unwrap_or_default()))
        })
    }

    fn read(&mut self, client: usize, oid: u64) {
        let Some(start) = self.clients[client].start else { return };
        let found = self.found(start - 1, oid);
        let serial = found.as_ref().map(|(serial, _)| Tid::new(*serial));
        self.note(
            client,
            Operation::Read { oid: Oid::new(oid), serial, value: found.map(|(_, value)| value) },
        );
    }

    fn commit(&mut self, client: usize, oids: &[u64], ending: Ending) {
        if self.clients[client].is_cut_off {
            return;
        }
        let Some(start) = self.clients[client].start else { return };
        self.clients[client].commits += 1;
        let number = self.clients[client].commits;
        let based: Vec<_> =
            oids.iter().map(|oid| (*oid, self.found(start - 1, *oid).map(|(serial, _)| serial))).collect();
        let writes = based.iter().map(|(oid, base)| Write {
            oid: Oid::new(*oid),
            base: base.map(Tid::new),
            value: format!("{client} {number}"),
        });
        let writes: Vec<Write> = writes.collect();
        self.note(client, Operation::Commit { writes: writes.clone() });
        let is_current =
            based.iter().all(|(oid, base)| self.found(self.last(), *oid).map(|(serial, _)| serial) == *base);
        if !is_current {
            self.note(client, Operation::Outcome(Outcome::Refused));
            return;
        }
        if ending == Ending::CutOffBefore {
            self.clients[client].is_cut_off = true;
            self.note(client, Operation::Outcome(Outcome::Unknown));
            return;
        }
        let stored = writes.into_iter().map(|write| Stored { oid: write.oid, value: Some(write.value) });
        let tid = self.append(stored.collect());
        for (other, state) in self.clients.iter_mut().enumerate() {
            if other != client && !state.is_cut_off {
                state.waiting.push((tid, oids.to_vec()));
            }
        }
        if ending == Ending::CutOffAfter {
            self.clients[client].is_cut_off = true;
            self.note(client, Operation::Outcome(Outcome::Unknown));
            return;
        }
        self.hear(client);
        self.clients[client].known = tid;
        self.note(client, Operation::Outcome(Outcome::Committed(Tid::new(tid))));
    }

    fn append(&mut self, writes: Vec<Stored>) -> u64 {
        self.tid += 3;
        let follows = writes.is_empty().then(|| Tid::new(self.last()));
        self.log.push(Transaction { tid: Tid::new(self.tid), writes, follows });
        self.worlds.insert(self.tid, self.log.clone());
        self.tid
    }

    fn hear(&mut self, client: usize) {
        for (tid, oids) in std::mem::take(&mut self.clients[client].waiting) {
            self.clients[client].known = tid;
            let oids = oids.into_iter().map(Oid::new).collect();
            self.note(client, Operation::Invalidated { tid: Tid::new(tid), oids });
        }
    }

    fn fail_over(&mut self, count: usize) {
        let kept = self.log.len().saturating_sub(count);
        let lost = self.log.split_off(kept);
        self.lost.push(lost);
        self.append(Vec::new()); // the boundary
        for client in 0..CLIENTS {
            self.connect(client);
        }
    }

    pub(crate) fn histories(&self) -> Vec<History> {
        let history = |(number, client): (usize, &Client)| History {
            client: format!("client {number}"),
            entries: client.entries.clone(),
        };
        self.clients.iter().enumerate().map(history).collect()
    }
}
