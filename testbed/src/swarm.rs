//! Many Rust clients in one process, each of which commits a small object of its own now and then.

mod member;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::History;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeo_proto::client::Options;

/// Whether an object is one that a swarm writes.
pub fn has(oid: zeo_proto::Oid) -> bool {
    oid.get() >= member::FIRST
}

/// What the clients of a swarm do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many there are.
    pub clients: usize,
    /// How each of them connects.
    pub options: Options,
    /// Each commits once in so much time, at a moment of its own.
    pub every: Duration,
    /// Whether they keep histories. Then each reads others' objects, too.
    pub records: bool,
    /// What is chosen by chance depends on it.
    pub seed: u64,
}

/// Clients at work.
#[derive(Debug)]
pub struct Swarm {
    plan: Plan,
    members: JoinSet<Result<History>>,
    told: watch::Sender<Told>,
    done: Vec<Arc<Done>>,
    since: Instant,
}

/// What the members are told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// How often they were asked to commit at once.
    mark: u64,
    stop: bool,
}

/// What a member has done.
#[derive(Debug, Default)]
struct Done {
    /// The last mark that was there when it began a transaction that is committed now.
    mark: AtomicU64,
    /// When it was connected for the first of these, and when that was answered, in microseconds.
    let_in: AtomicU64,
    committed: AtomicU64,
    /// How often it has committed, and how often there was no room for what it wanted to.
    commits: AtomicU64,
    refused: AtomicU64,
}

/// How long after a moment a client was back.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    /// It had the connection on which it then committed.
    pub let_in: Duration,
    /// It was told that its transaction is committed.
    pub committed: Duration,
}

impl Swarm {
    /// Starts them, within a tokio runtime.
    pub fn start(plan: &Plan) -> Self {
        let told = watch::Sender::new(Told::default());
        let (members, done, since) = (JoinSet::new(), Vec::new(), Instant::now());
        let mut swarm = Self { plan: plan.clone(), members, told, done, since };
        for _ in 0..plan.clients {
            swarm.add(plan.clone());
        }
        swarm
    }

    /// Adds clients that connect as these options say, read what the others write, and commit nothing.
    pub fn add_readers(&mut self, count: usize, options: &Options) {
        for _ in 0..count {
            self.add(Plan { options: options.clone(), ..self.plan.clone() });
        }
    }

    fn add(&mut self, plan: Plan) {
        let done = Arc::new(Done::default());
        let (number, told) = (self.done.len(), self.told.subscribe());
        self.members.spawn(member::Member::new(number, plan, told, Arc::clone(&done), self.since).live());
        self.done.push(done);
    }

    /// How many transactions were committed.
    pub fn commits(&self) -> u64 {
        self.count()()
    }

    /// Who says how many were, at any time.
    pub fn count(&self) -> impl Fn() -> u64 + Send + use<> {
        let done = self.done.clone();
        move || done.iter().map(|done| done.commits.load(Ordering::Relaxed)).sum()
    }

    /// How many were refused because there was no room for them on a disk.
    pub fn refused(&self) -> u64 {
        self.done.iter().map(|done| done.refused.load(Ordering::Relaxed)).sum()
    }

    /// Has all of them commit at once, in a transaction that begins from now on. Readers read instead.
    pub fn commit_now(&self) {
        self.told.send_modify(|told| told.mark += 1);
    }

    /// Whether all have committed what they were asked for.
    pub fn have_all_committed(&self) -> bool {
        let mark = self.told.borrow().mark;
        self.done.iter().all(|done| done.mark.load(Ordering::Acquire) >= mark)
    }

    /// Waits until all have done so. How long after a moment each of them had.
    ///
    /// # Errors
    /// One has not after so long, or has ended.
    pub async fn all_committed(&mut self, after: Instant, patience: Duration) -> Result<Vec<Back>> {
        let mark = self.told.borrow().mark;
        let deadline = Instant::now() + patience;
        loop {
            let done = |done: &&Arc<Done>| done.mark.load(Ordering::Acquire) >= mark;
            let count = self.done.iter().filter(done).count();
            if count == self.done.len() {
                let later = |at: &AtomicU64| {
                    let at = Duration::from_micros(at.load(Ordering::Relaxed));
                    (self.since + at).saturating_duration_since(after)
                };
                let back = |done: &Arc<Done>| Back {
                    let_in: later(&done.let_in),
                    committed: later(&done.committed),
                };
                return Ok(self.done.iter().map(back).collect());
            }
            if let Some(ended) = self.members.try_join_next() {
                ended?.context("a client has ended")?;
            }
            ensure!(Instant::now() < deadline, "only {count} of {} have committed", self.done.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends them, and returns what they have written down.
    ///
    /// # Errors
    /// One has failed with what a client must not be told.
    pub async fn stop(mut self) -> Result<Vec<History>> {
        self.told.send_modify(|told| told.stop = true);
        let mut histories = Vec::new();
        while let Some(ended) = self.members.join_next().await {
            histories.push(ended??);
        }
        Ok(histories)
    }
}
