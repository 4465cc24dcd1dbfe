//! The clients of a storage: who they are, and what each has done.
//!
//! Counting must cost nothing: each client's counters are changed by its own connection alone, with plain loads and
//! stores, and only added up when somebody asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::publications::SessionId;

use crate::world;

/// Of the name that a client gives itself, so many characters are kept.
const LABEL_CHARS_MAX: usize = 200;

/// A number that one task alone changes, and all may read.
#[derive(Debug, Default)]
pub struct OwnNumber(AtomicU64);

impl OwnNumber {
    /// One more.
    pub fn add_one(&self) {
        self.set(self.get() + 1);
    }

    /// This from now on.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a client has done since it registered. Changed by its connection's task alone.
#[derive(Debug, Default)]
pub struct Counts {
    /// `loadBefore` calls, failed ones included.
    pub loads: OwnNumber,
    /// Stores, restores and deletions asked for.
    pub stores: OwnNumber,
    /// Transactions handed to the committer.
    pub commits: OwnNumber,
    /// Transactions aborted, by the client or because it left.
    pub aborts: OwnNumber,
    /// Votes that ended in a conflict error.
    pub conflicts: OwnNumber,
    /// Votes that gave conflicts back to the client, to be resolved.
    pub conflicts_returned: OwnNumber,
}

/// Counts, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// See [`Counts::loads`].
    pub loads: u64,
    /// See [`Counts::stores`].
    pub stores: u64,
    /// See [`Counts::commits`].
    pub commits: u64,
    /// See [`Counts::aborts`].
    pub aborts: u64,
    /// See [`Counts::conflicts`].
    pub conflicts: u64,
    /// See [`Counts::conflicts_returned`].
    pub conflicts_returned: u64,
}

impl Counts {
    /// As they are now.
    pub fn read(&self) -> Totals {
        Totals {
            loads: self.loads.get(),
            stores: self.stores.get(),
            commits: self.commits.get(),
            aborts: self.aborts.get(),
            conflicts: self.conflicts.get(),
            conflicts_returned: self.conflicts_returned.get(),
        }
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.loads += other.loads;
        self.stores += other.stores;
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.conflicts += other.conflicts;
        self.conflicts_returned += other.conflicts_returned;
    }
}

/// A client, from its connection to its end.
#[derive(Debug)]
pub struct Client {
    address: String,
    connected: SystemTime,
    label: Mutex<Option<String>>,
    /// What it has done.
    pub counts: Counts,
    /// Bytes for it that its socket has not taken.
    pub queued_bytes: OwnNumber,
}

impl Client {
    /// A client that connects now.
    pub fn new(address: String) -> Self {
        Self {
            address,
            connected: world::now(),
            label: Mutex::default(),
            counts: Counts::default(),
            queued_bytes: OwnNumber::default(),
        }
    }

    /// Where it connects from.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When it connected.
    pub fn connected(&self) -> SystemTime {
        self.connected
    }

    /// The name that it has given itself, if any.
    pub fn label(&self) -> Option<String> {
        self.lock_label().clone()
    }

    /// It has given itself a name; of a long one, the beginning is kept.
    pub fn set_label(&self, label: &str) {
        *self.lock_label() = Some(label.chars().take(LABEL_CHARS_MAX).collect());
    }

    /// What it is called in the log.
    pub fn name(&self) -> String {
        match &*self.lock_label() {
            Some(label) => format!("{label} {}", self.address),
            None => self.address.clone(),
        }
    }

    fn lock_label(&self) -> MutexGuard<'_, Option<String>> {
        self.label.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that is registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Who.
    pub client: Arc<Client>,
    /// It may only read.
    pub read_only: bool,
}

/// The registered clients of a storage.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    here: BTreeMap<SessionId, Registration>,
    /// What those have done who left.
    gone: Totals,
}

impl Clients {
    /// A client has registered.
    pub fn add(&self, session: SessionId, registration: Registration) {
        self.lock().here.insert(session, registration);
    }

    /// It leaves; it counts nothing more.
    pub fn remove(&self, session: SessionId) {
        let mut inner = self.lock();
        if let Some(left) = inner.here.remove(&session) {
            inner.gone += left.client.counts.read();
        }
    }

    /// What all have done, those who left included.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let mut totals = inner.gone;
        for Registration { client, .. } in inner.here.values() {
            totals += client.counts.read();
        }
        totals
    }

    /// Those who are here, in the order in which they came.
    pub fn list(&self) -> Vec<(SessionId, Registration)> {
        self.lock().here.iter().map(|(session, registration)| (*session, registration.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Arc<Client> {
        Arc::new(Client::new(address.to_owned()))
    }

    #[test]
    fn what_a_client_did_stays_in_the_totals_when_it_leaves() {
        let (clients, one, two) = (Clients::default(), client("one"), client("two"));
        clients.add(SessionId(1), Registration { client: one.clone(), read_only: false });
        clients.add(SessionId(2), Registration { client: two.clone(), read_only: true });
        one.counts.loads.add_one();
        one.counts.commits.add_one();
        two.counts.loads.add_one();
        let totals = Totals { loads: 2, commits: 1, ..Totals::default() };
        assert_eq!(clients.totals(), totals);
        clients.remove(SessionId(1));
        clients.remove(SessionId(1));
        assert_eq!(clients.totals(), totals);
        let here: Vec<_> = clients.list().into_iter().map(|(id, who)| (id, who.read_only)).collect();
        assert_eq!(here, [(SessionId(2), true)]);
    }

    #[test]
    fn a_client_is_called_by_its_label_and_address_and_no_label_is_kept_whole_however_long() {
        let client = client("127.0.0.1:5");
        assert_eq!((client.name().as_str(), client.label()), ("127.0.0.1:5", None));
        client.set_label("zope 1");
        assert_eq!(client.name(), "zope 1 127.0.0.1:5");
        client.set_label(&"ü".repeat(1_000_000));
        assert_eq!(client.label(), Some("ü".repeat(LABEL_CHARS_MAX)));
    }
}
