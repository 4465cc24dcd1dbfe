//! From `tpc_finish` on: what is committed, and what of that is published.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use zeo_proto::{Tid, Value};

use super::client::{Stage, Waits};
use super::history::Transaction;
use super::line::Line;
use super::world::{Committing, PATIENCE, WATCHER, World};

impl World {
    /// All of these clients finish, where they have voted. It is waited for the committer.
    pub(super) fn finish(&mut self, clients: &[usize]) {
        let mut owners = Vec::new();
        for &at in clients {
            if !self.clients[at].line.as_ref().is_some_and(Line::is_ready) {
                continue;
            }
            let Some(ongoing) = &mut self.clients[at].transaction else { continue };
            let Stage::Voted(records) = &mut ongoing.stage else { continue };
            let (records, locks) = (std::mem::take(records), ongoing.locks.clone());
            ongoing.stage = Stage::Finishing;
            let id = Value::Int(ongoing.id);
            let owner = self.clients[at].line().owner().expect("it has voted");
            owners.push(owner);
            self.committing.push_back(Committing { client: at, owner, records, locks });
            self.call(at, "tpc_finish", &[id], Waits::Finish);
            // It must not hear of the others before the watcher does.
            self.take_requests(at);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let holders = self.site().service().lock_holders();
            self.turn(WATCHER);
            self.committed();
            let mut open = self.committing.iter().chain(self.unpublished.iter().map(|(_, given)| given));
            let early = open.find(|given| !holders.contains(&given.owner)).map(|given| given.client);
            assert_eq!(early, None, "whose locks are given back before it is published");
            let is_done = match self.site().service().acknowledgements() {
                None => self.unpublished.is_empty() && !owners.iter().any(|owner| holders.contains(owner)),
                Some(state) => state.waiting == self.unpublished.len(),
            };
            if self.committing.is_empty() && is_done {
                break;
            }
            assert!(Instant::now() < deadline, "the committer does not come to its end");
            std::thread::sleep(Duration::from_micros(50));
        }
        self.check_grants();
    }

    /// Looks what is in the log: the next ones that were given to the committer.
    fn committed(&mut self) {
        let last = self.model.history.0.last().map_or(Tid::ZERO, |transaction| transaction.tid);
        if self.site().service().storage().last_tid() == last {
            return;
        }
        let new = self.site().service().storage().transactions(Some(last.next()), None).expect("readable");
        for header in new.collect::<Vec<_>>() {
            let tid = header.expect("readable").tid;
            let given = self.committing.pop_front().expect("nothing else was given to the committer");
            let transaction = Transaction { tid, records: given.records.clone(), packed: false };
            for history in self.model.before_packs.iter_mut().chain([&mut self.model.history]) {
                history.0.push(transaction.clone());
            }
            self.unpublished.push_back((tid, given));
        }
    }

    /// The watcher heard of a transaction: it is the next one that was committed.
    pub(super) fn published(&mut self, tid: Tid, oids: BTreeSet<u64>) {
        self.committed();
        let (committed, given) = self.unpublished.pop_front().expect("it is in the log");
        assert!(!self.setup.acks || tid <= self.acknowledged, "{tid} is published, and no replica has it");
        assert_eq!(tid, committed, "transactions are published in their order");
        let written: BTreeSet<u64> = given.records.keys().copied().collect();
        assert_eq!(oids, written, "what client {} wrote is invalidated", given.client);
        self.model.published.push((tid, oids));
    }

    /// A replica has the transaction that is so far behind in those that wait for that, and those before it.
    pub(super) fn acknowledge(&mut self, which: usize) {
        let last = self.unpublished.len().saturating_sub(1);
        let Some((tid, _)) = self.unpublished.get(which.min(last)) else { return };
        let (tid, left) = (*tid, last - which.min(last));
        self.acknowledged = tid;
        self.site().service().acknowledged("replica", 1, tid);
        self.turn(WATCHER);
        assert_eq!(self.unpublished.len(), left, "what is acknowledged is published, and nothing else");
        self.count("acknowledgements");
        self.check_grants();
    }

    pub(super) fn acknowledge_all(&mut self) {
        self.acknowledge(usize::MAX);
    }
}
