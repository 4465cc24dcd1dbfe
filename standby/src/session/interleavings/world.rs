//! The storage, its clients, and the model; and how a step is done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use zeo_proto::{Encoding, Tid, Value};

use super::client::{Client, Locks, Waits};
use super::history::{History, Record};
use super::line::{Due, Line, work_for_nobody};
use super::setup::{self, Site};
use super::steps::{CLIENTS, Case, FIRST_BLOB, OIDS, Setup, Step, What, Write};
use crate::service::locks::Owner;

/// How long the committer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Everything there is in a case.
pub(super) struct World {
    pub(super) site: Option<Site>,
    pub(super) setup: Setup,
    pub(super) clients: Vec<Client>,
    /// Jobs whose connections have gone.
    orphans: VecDeque<Due>,
    pub(super) model: Model,
    /// What the committer was given and has not committed, oldest first.
    pub(super) committing: VecDeque<Committing>,
    /// What is committed and not published, oldest first.
    pub(super) unpublished: VecDeque<(Tid, Committing)>,
    /// The last transaction that a replica has acknowledged.
    pub(super) acknowledged: Tid,
    tally: Tally,
}

/// What the storage must hold.
#[derive(Default)]
pub(super) struct Model {
    pub(super) history: History,
    /// What it would be without the packs from this one on, for each of them.
    pub(super) before_packs: Vec<History>,
    /// Every transaction that was ever committed, and what it wrote.
    pub(super) published: Vec<(Tid, BTreeSet<u64>)>,
    /// How the queue of invalidations is bounded.
    pub(super) queue: Option<usize>,
}

/// A transaction that its client has finished.
pub(super) struct Committing {
    pub(super) client: usize,
    pub(super) owner: Owner,
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) locks: Locks,
}

/// One client more than the steps know: it only watches what is published.
pub(super) const WATCHER: usize = CLIENTS;

/// How often something came about; see `CAME_ABOUT`.
pub(super) type Tally = BTreeMap<&'static str, u64>;

/// Does a whole case, and counts into `tally`.
pub(super) fn run(case: &Case, tally: &mut Tally) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut world = World::new(&case.setup);
    world.bootstrap();
    for step in &case.steps {
        world.step(step);
    }
    world.end();
    for (what, count) in std::mem::take(&mut world.tally) {
        *tally.entry(what).or_default() += count;
    }
}

impl World {
    fn new(setup: &Setup) -> Self {
        let site = Some(Site::open(setup::folder(), setup));
        let clients = (0..=CLIENTS).map(|_| Client::default()).collect();
        let queue = (!setup.from_log && !setup.aged).then_some(setup::QUEUE);
        let model = Model { queue, ..Model::default() };
        let mut world = Self {
            site,
            setup: setup.clone(),
            clients,
            orphans: VecDeque::new(),
            model,
            committing: VecDeque::new(),
            unpublished: VecDeque::new(),
            acknowledged: Tid::ZERO,
            tally: Tally::new(),
        };
        world.connect(WATCHER);
        world
    }

    /// The first transactions: every object, and a root that refers to some of them.
    fn bootstrap(&mut self) {
        self.connect(0);
        let object =
            |oid, references| Write { oid, what: What::Store { value: 1, references }, stale: false };
        let mut writes: Vec<_> = (1..FIRST_BLOB).map(|oid| object(oid, vec![])).collect();
        for oid in FIRST_BLOB..OIDS {
            writes.push(Write { oid, what: What::Blob { value: 1, size: 10 }, stale: false });
        }
        self.write(0, &writes);
        self.commit_alone();
        self.write(0, &[object(0, vec![1, 2, FIRST_BLOB])]);
        self.commit_alone();
        (1..CLIENTS).for_each(|at| self.connect(at));
    }

    fn commit_alone(&mut self) {
        for _ in 0..2 {
            self.go_through(0);
            self.acknowledge_all();
        }
        self.run_all(0);
        assert!(self.clients[0].transaction.is_none(), "a transaction alone is committed");
    }

    /// Notes that something came about.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn site(&self) -> &Site {
        self.site.as_ref().expect("the storage is open")
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Connect(at) => self.connect(*at),
            Step::Disconnect(at) => self.disconnect(*at),
            Step::Write(at, writes) => {
                let writes: Vec<_> = writes.iter().map(|write| write.among(self.setup.busy)).collect();
                self.write(*at, &writes);
            }
            Step::Undo(at, back) => self.undo(*at, back),
            Step::Go(at) => self.go(*at),
            Step::GoThrough(at) => self.go_through(*at),
            Step::Vote(at) => self.vote(*at),
            Step::Finish(clients) => self.finish(clients),
            Step::Acknowledge(which) => self.acknowledge(*which),
            Step::Abort(at, uploads) => self.abort(*at, *uploads),
            Step::Ask(at, question) => {
                self.ask(*at, question);
                self.turn(*at);
            }
            Step::AskBehind(at, question) => {
                self.ask(*at, question);
                self.take_requests(*at);
            }
            Step::Job(at, which) => self.job(*at, *which),
            Step::Event(at) => _ = self.event(*at),
            Step::CatchUp(at) => {
                if let Some(line) = &mut self.clients[*at].line {
                    let heard = line.catch_up();
                    self.listen(*at, heard);
                }
            }
            Step::Run(at) => self.run_all(*at),
            Step::Orphan => _ = self.orphan(),
            Step::Restart(crash) => self.restart(*crash),
        }
    }

    pub(super) fn connect(&mut self, at: usize) {
        if self.clients[at].line.is_some() {
            return;
        }
        let encoding = if self.setup.msgpack && at % 2 == 1 { Encoding::Msgpack } else { Encoding::Pickle };
        let known = self.clients[at].seen.checked_sub(1).map(|last| self.model.published[last].0);
        self.clients[at].line = Some(Line::new(&self.site().served, encoding, &format!("client {at}")));
        self.call(at, "register", &[Value::from("1"), Value::from(false)], Waits::Register);
        if let Some(known) = known {
            self.call(at, "getInvalidations", &[Value::from(known)], Waits::Invalidations(known));
        }
        self.turn(at);
    }

    pub(super) fn disconnect(&mut self, at: usize) {
        let had_locks = self.clients[at].has_locks();
        if let Some(mut line) = self.clients[at].disconnect() {
            if had_locks {
                self.count("disconnects with locks");
            }
            self.orphans.extend(line.jobs.drain(..));
            drop(line);
            self.check_grants();
        }
    }

    pub(super) fn call(&mut self, at: usize, method: &str, args: &[Value<'_>], what: Waits) -> i64 {
        let (packs, published) = (self.model.before_packs.len(), self.model.published.len());
        self.clients[at].call(method, args, what, packs, published)
    }

    pub(super) fn post(&mut self, at: usize, method: &str, args: &[Value<'_>]) {
        self.clients[at].line().post(method, args);
    }

    /// The transaction of which the client knows last.
    pub(super) fn view(&self, at: usize) -> Tid {
        self.clients[at].seen.checked_sub(1).map_or(Tid::ZERO, |last| self.model.published[last].0)
    }

    /// The transaction that is so many back.
    pub(super) fn back(&self, back: usize) -> Option<Tid> {
        self.model.published.iter().rev().nth(back).map(|(tid, _)| *tid)
    }

    pub(super) fn turn(&mut self, at: usize) {
        if let Some(line) = &mut self.clients[at].line {
            let heard = line.turn();
            self.listen(at, heard);
        }
    }

    /// Half a turn: takes requests, without what was published.
    pub(super) fn take_requests(&mut self, at: usize) {
        if let Some(line) = &mut self.clients[at].line {
            let heard = line.take_requests();
            self.listen(at, heard);
        }
    }

    fn job(&mut self, at: usize, which: usize) {
        let Some(line) = &mut self.clients[at].line else { return };
        if line.jobs.is_empty() {
            return;
        }
        let due = line.jobs.remove(which % line.jobs.len());
        let pack = due.pack;
        line.work(due);
        if let Some((until, awaited)) = pack {
            let failed = self.packed(until);
            if awaited {
                self.clients[at].pack_failed.push_back(failed);
            }
        }
    }

    fn event(&mut self, at: usize) -> bool {
        let Some(line) = &mut self.clients[at].line else { return false };
        let Some(heard) = line.event() else { return false };
        self.listen(at, heard);
        self.turn(at);
        true
    }

    /// Everything that the connection can do now.
    pub(super) fn run_all(&mut self, at: usize) {
        self.turn(at);
        while self.clients[at].line.as_mut().is_some_and(|line| !line.is_idle()) {
            if !self.event(at) {
                self.job(at, 0);
            }
            self.turn(at);
        }
        if self.clients[at].is_voting() {
            self.check_that_it_waits_for_someone(at);
            self.count("votes that wait");
        } else if self.clients[at].line.is_some() {
            assert!(self.clients[at].loads.is_empty(), "client {at} is never told what it loads");
            let calls = self.clients[at].calls.values();
            let open: Vec<_> = calls.filter(|asked| !matches!(asked.what, Waits::AbortedVote)).collect();
            // An answer may reflect what is not published yet.
            assert!(open.is_empty() || !self.unpublished.is_empty(), "never answered: {open:?}");
        }
    }

    /// Everything that any connection can do now.
    pub(super) fn run_everyone(&mut self) {
        while (0..CLIENTS).any(|at| self.clients[at].line.as_mut().is_some_and(|line| !line.is_idle())) {
            (0..CLIENTS).for_each(|at| self.run_all(at));
        }
    }

    pub(super) fn orphan(&mut self) -> bool {
        let Some(due) = self.orphans.pop_front() else { return false };
        let pack = due.pack;
        work_for_nobody(due);
        if let Some((until, _)) = pack {
            self.packed(until);
        }
        true
    }
}
