//! One served storage: what all of its sessions share.

pub mod acks;
pub mod apply;
pub mod bulletin;
pub mod clients;
pub mod gate;
pub mod invalidations;
pub mod locks;
mod losses;
pub mod mailbox;
pub mod oids;
pub mod packing;
pub mod publications;
pub mod recess;
pub mod stats;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use replica::{
    CommitError, Committed, Committer, Epochs, PackOptions, Publish, Reservation, Storage, Transaction,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};
use zeo_proto::{Oid, Tid, Value};

use self::apply::Applied;
use self::bulletin::Bulletin;
use self::clients::{Clients, Registration};
use self::gate::Gate;
use self::invalidations::InvalidationPolicy;
use self::locks::{Answer, Claims, LockTable, Owner};
use self::losses::Losses;
use self::mailbox::{Event, Mailbox};
use self::oids::OidAllocator;
use self::packing::Packing;
use self::publications::{Publications, SessionId};
use self::stats::Stats;
use crate::failover::loss::Loss;
use crate::world::HashMap;
use crate::world::{self, Instant};

/// How one storage is served.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The name that clients register with.
    pub name: String,
    /// Refuse read-write clients.
    pub read_only: bool,
    /// How `getInvalidations` is answered.
    pub invalidations: InvalidationPolicy,
    /// From getting the locks to giving them back; then the client's connection is closed. `None`: no limit.
    pub transaction_timeout: Option<Duration>,
    /// How packs are done.
    pub pack: PackOptions,
    /// Waits this long before each load's reply (for race tests).
    pub load_delay: Duration,
}

/// A storage and everything around it that its sessions share. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    options: ServiceOptions,
    storage: Storage,
    committer: Option<Committer>,
    exchange: Arc<Exchange>,
    oids: OidAllocator,
    stats: Stats,
    clients: Clients,
    packing: Packing,
    /// Sessions and transactions are numbered.
    numbers: AtomicU64,
    /// The reigns that wrote what the storage has.
    epochs: Mutex<Epochs>,
    bulletin: Bulletin,
    losses: Losses,
}

/// What the committer's thread and the sessions both touch.
struct Exchange {
    storage_name: String,
    publications: Publications,
    locks: Mutex<Locks>,
    /// The last transaction that is durable.
    tip: watch::Sender<Tid>,
    /// Nothing more can be committed.
    failed: watch::Sender<bool>,
    gate: Mutex<Gate>,
    /// Who is told of transactions that come from another node.
    applied: Mutex<Option<mpsc::UnboundedSender<Applied>>>,
}

#[derive(Default)]
struct Locks {
    table: LockTable,
    /// When the owners got their locks, for `lock_time` in the status.
    since: BTreeMap<Owner, SystemTime>,
    /// The owners of the transactions that the committer has, by number.
    committing: HashMap<u64, Owner>,
}

impl Service {
    /// Takes an opened storage into service.
    pub fn new(options: ServiceOptions, storage: Storage) -> Result<Self, replica::ReadError> {
        let kept = options.invalidations.kept_transactions();
        let history = storage.recent_transactions(kept)?;
        let publications = Publications::new(options.invalidations.retention(), storage.last_tid(), history);
        let exchange = Arc::new(Exchange {
            storage_name: options.name.clone(),
            publications,
            locks: Mutex::default(),
            tip: watch::Sender::new(storage.last_tid()),
            failed: watch::Sender::new(false),
            gate: Mutex::default(),
            applied: Mutex::default(),
        });
        let committer = (!storage.is_read_only()).then(|| storage.start_committer(exchange.clone()));
        let oids = OidAllocator::new(storage.max_oid());
        let stats = Stats::new(world::now());
        let numbers = AtomicU64::new(1);
        Ok(Self(Arc::new(Shared {
            options,
            storage,
            committer,
            exchange,
            oids,
            stats,
            clients: Clients::default(),
            packing: Packing::default(),
            numbers,
            epochs: Mutex::default(),
            bulletin: Bulletin::default(),
            losses: Losses::default(),
        })))
    }

    /// How this storage is served.
    pub fn options(&self) -> &ServiceOptions {
        &self.0.options
    }

    /// The copy on disk.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// What clients are told of the cluster.
    pub fn bulletin(&self) -> &Bulletin {
        &self.0.bulletin
    }

    /// Tells every client of the cluster, now and when it registers.
    pub fn announce(&self, cluster: Value<'static>) {
        self.0.bulletin.post(cluster);
        self.publications().wake_all();
    }

    /// The stream of committed transactions.
    pub fn publications(&self) -> &Publications {
        &self.0.exchange.publications
    }

    /// The last transaction that is durable, as it changes: published, or about to be.
    pub fn tip(&self) -> watch::Receiver<Tid> {
        self.0.exchange.tip.subscribe()
    }

    /// Waits until a commit finds out that nothing more can be committed ([`replica::Storage::failure`]).
    pub async fn failed(&self) {
        // Who would say so is there as long as this is.
        let _ = self.0.exchange.failed.subscribe().wait_for(|failed| *failed).await;
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// The registered clients.
    pub fn clients(&self) -> &Clients {
        &self.0.clients
    }

    /// New object ids.
    pub fn oids(&self) -> &OidAllocator {
        &self.0.oids
    }

    /// Whether read-write clients are refused.
    pub fn is_read_only(&self) -> bool {
        self.0.options.read_only || self.0.storage.is_read_only()
    }

    /// A client's session joins; the returned name is its own for as long as the server runs.
    pub fn join(&self, mailbox: Mailbox, registration: Registration) -> (SessionId, u64, Tid) {
        let session = SessionId(self.next_number());
        self.0.clients.add(session, registration);
        let (sequence, last) = self.publications().subscribe(session, mailbox);
        (session, sequence, last)
    }

    /// A session begins a transaction.
    pub fn begin(&self, session: SessionId) -> Owner {
        Owner { session, transaction: self.next_number() }
    }

    fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A session leaves. What it handed to the committer is committed all the same.
    pub fn leave(&self, session: SessionId) {
        self.publications().unsubscribe(session);
        self.0.clients.remove(session);
    }

    /// Asks for the locks of a vote. `Waiting` is followed by [`Event::LocksGranted`].
    pub fn lock(&self, owner: Owner, claims: Claims) -> Answer {
        let (answer, granted) = {
            let mut locks = self.0.exchange.lock_table();
            let (answer, granted) = locks.table.request(owner, claims);
            locks.since.remove(&owner);
            if answer == Answer::Granted {
                locks.since.insert(owner, world::now());
            }
            locks.note_since(&granted);
            (answer, granted)
        };
        self.0.exchange.tell_granted(granted);
        answer
    }

    /// Gives back the locks of an owner, or takes it out of the queue.
    pub fn unlock(&self, owner: Owner) {
        self.0.exchange.unlock(owner);
    }

    /// Queues a voted transaction for the committer. The owner's session finds the outcome among the
    /// publications, or gets [`Event::CommitFailed`]; its locks are given back by then.
    pub fn commit(&self, owner: Owner, transaction: Transaction, reservation: Reservation) {
        let committer = self.0.committer.as_ref().expect("a read-only storage has no voted transactions");
        self.0.exchange.lock_table().committing.insert(owner.transaction, owner);
        let alone = self.0.stats.active_txns.get() == 1;
        if alone && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            // Two changes of thread cost a lone client as much as a fast disk does.
            tokio::task::block_in_place(|| {
                committer.commit_here(owner.transaction, transaction, reservation)
            });
        } else {
            committer.commit(owner.transaction, transaction, reservation);
        }
    }

    /// How many votes wait for locks, and since when the longest held ones are held.
    pub fn lock_status(&self) -> (usize, Option<SystemTime>) {
        let locks = self.0.exchange.lock_table();
        let since = locks.since.iter().filter(|(owner, _)| owner.session != apply::NOBODY);
        (locks.table.waiting(), since.map(|(_, since)| *since).min())
    }

    /// The sessions whose votes wait for locks.
    pub fn waiting_sessions(&self) -> HashSet<SessionId> {
        self.0.exchange.lock_table().table.waiting_owners().map(|owner| owner.session).collect()
    }

    /// Who has locks.
    #[cfg(test)]
    pub(crate) fn lock_holders(&self) -> Vec<Owner> {
        self.0.exchange.lock_table().since.keys().copied().collect()
    }

    /// The objects changed since `tid`, as of the transaction `view`; `None` where the client must drop its
    /// whole cache: also one that has seen a transaction which was lost, if it is not known what that wrote. May read the log: call it where blocking is
    /// allowed.
    pub fn invalidations(&self, tid: Tid, view: Tid) -> Result<Option<Vec<Oid>>, replica::ReadError> {
        let answer = |tid| -> Result<Option<Vec<Oid>>, replica::ReadError> {
            if !self.epochs().survives(tid) {
                return Ok(None);
            }
            self.0.options.invalidations.answer(&self.0.storage, self.publications(), tid, view)
        };
        if let Some(changed) = answer(tid)? {
            return Ok(Some(changed));
        }
        let Some(loss) = self.0.losses.with(tid) else { return Ok(None) };
        Ok(answer(loss.fork)?.map(|since| {
            let changed: BTreeSet<Oid> = since.into_iter().chain(loss.oids.iter().copied()).collect();
            changed.into_iter().collect()
        }))
    }

    /// These transactions are not of this storage's history, and clients may have seen them.
    pub fn note_loss(&self, loss: Arc<Loss>) {
        self.0.losses.note(loss);
    }

    /// The reigns that wrote what the storage has, as they are known now.
    pub fn set_epochs(&self, epochs: Epochs) {
        *self.epochs() = epochs;
    }

    fn epochs(&self) -> std::sync::MutexGuard<'_, Epochs> {
        self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what is queued, writes the index down and lets go of the files.
    pub fn close(&self) -> Result<(), replica::CloseError> {
        let started = Instant::now();
        if let Some(committer) = &self.0.committer {
            committer.stop();
        }
        let closed = self.0.storage.clone().close();
        tracing::info!(storage = %self.0.options.name, took = ?started.elapsed(), "storage closed");
        closed
    }
}

impl Locks {
    /// These have their locks from now on.
    fn note_since(&mut self, granted: &[Owner]) {
        let now = world::now();
        self.since.extend(granted.iter().map(|owner| (*owner, now)));
    }

    /// The committer is done with this transaction.
    fn committed(&mut self, number: u64) -> Owner {
        self.committing
            .remove(&number)
            .expect("the committer tells once of each transaction that it was given")
    }
}

impl Exchange {
    fn lock_table(&self) -> std::sync::MutexGuard<'_, Locks> {
        self.locks.lock().expect("no holder of the lock table panicked")
    }

    fn unlock(&self, owner: Owner) {
        let granted = {
            let mut locks = self.lock_table();
            locks.since.remove(&owner);
            let granted = locks.table.release(owner);
            locks.note_since(&granted);
            granted
        };
        self.tell_granted(granted);
    }

    fn tell_granted(&self, granted: Vec<Owner>) {
        for owner in granted {
            self.publications.notify(owner.session, Event::LocksGranted(owner));
        }
    }
}

impl Exchange {
    /// Published first, unlocked second: a vote that a transaction lets through is answered after its invalidation.
    fn publish(&self, batch: Vec<Committed>, following: bool) {
        let owners: Vec<Owner> = {
            let mut locks = self.lock_table();
            batch.iter().map(|committed| locks.committed(committed.tag)).collect()
        };
        let (mut applied, mut last) = (0, Tid::ZERO);
        for (committed, owner) in batch.into_iter().zip(&owners) {
            let Committed { tid, oids, object_count, size_bytes, .. } = committed;
            if following && owner.session != apply::NOBODY {
                let reason = "this node is not the primary any more".to_owned();
                self.publications.notify(owner.session, Event::CommitFailed(reason));
                continue;
            }
            self.publications.publish(tid, oids, *owner, object_count, size_bytes);
            if Self::is_applied(*owner) {
                (applied, last) = (applied + 1, tid);
            }
        }
        if applied > 0 {
            self.tell_applied(Applied { count: applied, outcome: Ok(last) });
        }
        owners.into_iter().filter(|owner| !Self::is_applied(*owner)).for_each(|owner| self.unlock(owner));
    }
}

impl Publish for Exchange {
    fn published(&self, batch: Vec<Committed>) {
        self.durable(batch);
    }

    fn failed(&self, tag: u64, reason: &CommitError) {
        if matches!(reason, CommitError::Failed(_)) {
            self.failed.send_replace(true);
        }
        let owner = self.lock_table().committed(tag);
        if Self::is_applied(owner) {
            self.tell_applied(Applied { count: 1, outcome: Err(reason.clone()) });
            return;
        }
        error!(storage = %self.storage_name, error = %reason, "a voted transaction could not be committed");
        self.publications.notify(owner.session, Event::CommitFailed(reason.to_string()));
        self.unlock(owner);
        if matches!(reason, CommitError::Failed(_)) {
            warn!(storage = %self.storage_name, "nothing more is committed to this storage until a restart");
        }
    }
}

#[cfg(test)]
#[path = "service_test.rs"]
mod tests;
