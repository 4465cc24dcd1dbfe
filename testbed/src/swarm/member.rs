use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use standby_checker::{History, Recorder};
use tokio::sync::watch;
use zeo_proto::client::{Access, Client, Error, Metadata, Refused, Revision, Snapshot};
use zeo_proto::{Oid, Tid};

use super::{Done, Plan, Told};
use crate::driver::record;
use crate::seed::Seed;

/// The objects of a swarm: one for each client, from here on.
pub(super) const FIRST: u64 = 1 << 35;
/// Length of every record.
const RECORD_BYTES: usize = 300;
/// So many objects of others are read in each transaction, where histories are kept.
const READ: u64 = 3;
/// So much later is tried again what there was no room for.
const LATER: Duration = Duration::from_millis(50);

/// One of the clients.
pub(super) struct Member {
    number: usize,
    plan: Plan,
    told: watch::Receiver<Told>,
    done: Arc<Done>,
    since: Instant,
    chance: Seed,
    transactions: u64,
    /// When it had a connection for its last attempt, in microseconds.
    let_in: u64,
    recorder: Option<Recorder>,
}

impl Member {
    pub(super) fn new(
        number: usize,
        plan: Plan,
        told: watch::Receiver<Told>,
        done: Arc<Done>,
        since: Instant,
    ) -> Self {
        let chance = Seed::of(plan.seed ^ (number as u64) << 32);
        let (transactions, let_in, recorder) = (0, 0, None);
        Self { number, plan, told, done, since, chance, transactions, let_in, recorder }
    }

    fn writes(&self) -> bool {
        self.plan.options.access == Access::ReadWrite
    }

    /// In microseconds since all began.
    fn now(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }

    /// Commits until it is told to stop.
    pub(super) async fn live(mut self) -> Result<History> {
        let client = Client::start(self.plan.options.clone());
        let name = format!("{} {}", if self.writes() { "client" } else { "reader" }, self.number);
        self.recorder = self.plan.records.then(|| Recorder::new(name.clone(), client.events()));
        let mut due = self.some_time();
        loop {
            let told = *self.told.borrow_and_update();
            if told.stop {
                let history = self.recorder.map(Recorder::into_history);
                return Ok(history.unwrap_or(History { client: name, entries: Vec::new() }));
            }
            if self.done.mark.load(Ordering::Relaxed) == told.mark {
                tokio::select! {
                    _ = self.told.changed() => continue,
                    () = tokio::time::sleep(due) => {}
                }
            }
            self.transact(&client).await?;
            due = self.plan.every / 2 + self.some_time();
            if self.done.mark.load(Ordering::Relaxed) < told.mark {
                self.done.let_in.store(self.let_in, Ordering::Relaxed);
                self.done.committed.store(self.now(), Ordering::Relaxed);
                self.done.mark.store(told.mark, Ordering::Release);
            }
        }
    }

    /// Up to the time between two commits.
    fn some_time(&mut self) -> Duration {
        Duration::from_micros(self.chance.pick(0..self.plan.every.as_micros().max(1) as u64))
    }

    /// Commits one transaction, or reads in one, as often as it takes.
    async fn transact(&mut self, client: &Client) -> Result<()> {
        loop {
            match self.attempt(client).await {
                Ok(()) => return Ok(()),
                // What a client must be ready for at any time.
                Err(Error::Conflict(_) | Error::Disconnected(_) | Error::HistoryChanged) => {}
                Err(Error::OutcomeUnknown(_)) => {}
                Err(Error::Refused(refused)) if is_for_want_of_room(&refused) => {
                    self.done.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(LATER).await;
                }
                Err(Error::Refused(refused)) if is_for_a_failed_disk(&refused) => {
                    tokio::time::sleep(LATER).await;
                }
                Err(error) => bail!("client {}: {error}", self.number),
            }
            if self.told.borrow().stop {
                return Ok(());
            }
        }
    }

    async fn attempt(&mut self, client: &Client) -> Result<(), Error> {
        client.connected().await?;
        self.let_in = self.now();
        let snapshot = client.snapshot().await?;
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(self.since.elapsed(), snapshot.before());
            for _ in 0..READ {
                let oid = Oid::new(FIRST + self.chance.pick(0..self.plan.clients as u64));
                self.read(&snapshot, oid).await?;
            }
        }
        if !self.writes() {
            return Ok(());
        }
        let oid = Oid::new(FIRST + self.number as u64);
        let base = self.read(&snapshot, oid).await?.map(|found| found.serial);
        self.transactions += 1;
        let data = record(RECORD_BYTES, (self.number as u64) << 32 | self.transactions);
        self.commit(client, oid, base, data.into()).await
    }

    async fn read(&mut self, snapshot: &Snapshot, oid: Oid) -> Result<Option<Revision>, Error> {
        let found = match snapshot.load(oid).await {
            Err(Error::Refused(refused)) if refused.is("POSKeyError") => None,
            found => found?,
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.read(self.since.elapsed(), oid, found.as_ref());
        }
        Ok(found)
    }

    async fn commit(
        &mut self,
        client: &Client,
        oid: Oid,
        base: Option<Tid>,
        data: Bytes,
    ) -> Result<(), Error> {
        let mut transaction = client.begin(Metadata::default()).await?;
        transaction.store(oid, base, &data);
        if let Some(recorder) = &mut self.recorder {
            recorder.commit(self.since.elapsed(), [(oid, base, &data[..])]);
        }
        let committed = transaction.commit().await;
        if let Some(recorder) = &mut self.recorder {
            recorder.outcome(self.since.elapsed(), &committed);
        }
        committed?;
        self.done.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a disk has failed, and the primary has not let go of its clients yet.
fn is_for_a_failed_disk(refused: &Refused) -> bool {
    refused.to_string().contains("the storage does not commit any more")
}

/// Whether a disk is full, or a file must not grow.
fn is_for_want_of_room(refused: &Refused) -> bool {
    let told = refused.to_string();
    told.contains("No space left") || told.contains("File too large")
}
