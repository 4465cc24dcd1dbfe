use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::calls::{self, Call};
use super::keeper::Keeper;
use super::session::{Effect, Session};
use super::shared::Shared;
use super::{Address, Error, Events, Metadata, Options, Revision, Snapshot, Transaction, View};
use crate::{Oid, Tid};

/// A client of a storage, of which there is one server, or a cluster of them. Clones are the same client.
///
/// Its calls may be made at one time from many tasks; they share the connection, and none waits for the answer to
/// another. Only transactions take turns: a connection has one at a time.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    /// The task goes on as long as this is there.
    _alive: Arc<watch::Sender<()>>,
}

impl Client {
    /// Starts a client, which looks for a server from now on, and for another one whenever it has lost it. Must be called
    /// within a tokio runtime.
    pub fn start(options: Options) -> Self {
        let shared = Arc::new(Shared::new(options));
        let (alive, stopped) = watch::channel(());
        tokio::spawn(Keeper::new(Arc::clone(&shared)).run(stopped));
        Self { shared, _alive: Arc::new(alive) }
    }

    /// Waits until there is a connection, and tells to which address.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after [`Options::wait`].
    pub async fn connected(&self) -> Result<Address, Error> {
        Ok(self.session(self.deadline()).await?.address.clone())
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events {
        Events(self.shared.events.subscribe())
    }

    /// What the servers have told of their cluster, if they belong to one.
    pub fn view(&self) -> Option<Arc<View>> {
        self.shared.view()
    }

    /// The last transaction that the client has heard of; [`Tid::ZERO`] for none.
    pub fn last_tid(&self) -> Tid {
        self.shared.cache().last_tid()
    }

    /// How much its cache holds, in bytes.
    pub fn cached_bytes(&self) -> usize {
        self.shared.cache().bytes()
    }

    pub(super) fn history(&self) -> u64 {
        self.shared.cache().history()
    }

    /// The storage as of the last transaction that the client has heard of. Waits only where it has never been connected.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it has never been.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        if self.last_tid() == Tid::ZERO {
            self.connected().await?;
        }
        let cache = self.shared.cache();
        Ok(Snapshot::new(self.clone(), cache.last_tid().next(), cache.history()))
    }

    /// The revision that was current just before a transaction, out of the cache or from the server; [`Tid::MAX`] asks
    /// for the current one as of [`Client::last_tid`]. `None`: the object was made later. Asked again when the connection
    /// breaks. What the cache has is given without a connection, too.
    ///
    /// # Errors
    /// The server refuses: with `POSKeyError` if there is no such object. Or no server is there.
    pub async fn load_before(&self, oid: Oid, before: Tid) -> Result<Option<Revision>, Error> {
        let cached = self.shared.cache().load_before(oid, before);
        if cached.is_some() {
            return Ok(cached);
        }
        let deadline = self.deadline();
        loop {
            match self.session(deadline).await?.load(oid, before).await {
                Err(Error::Disconnected(_)) => {}
                done => return done,
            }
        }
    }

    /// The record of one exact revision, from the server.
    ///
    /// # Errors
    /// Those of [`Client::load_before`].
    pub async fn load_serial(&self, oid: Oid, serial: Tid) -> Result<Bytes, Error> {
        let deadline = self.deadline();
        loop {
            let session = self.session(deadline).await?;
            match session.ask(Vec::new(), calls::load_serial(oid, serial), Effect::Nothing).await {
                Err(Error::Disconnected(_)) => {}
                done => return done,
            }
        }
    }

    /// Makes any other of the [`calls`], once.
    ///
    /// # Errors
    /// The server refuses, no server is there, or the connection was lost on the way: then the call may have been made.
    pub async fn ask<T>(&self, call: Call<'_, T>) -> Result<T, Error> {
        self.session(self.deadline()).await?.ask(Vec::new(), call, Effect::Nothing).await
    }

    /// Unused oids, as many as wanted or fewer (servers give 100 at a time).
    ///
    /// # Errors
    /// Those of [`Client::ask`].
    pub async fn new_oids(&self, count: u32) -> Result<Vec<Oid>, Error> {
        self.ask(calls::new_oids(count)).await
    }

    /// Begins a transaction, when it is its turn.
    ///
    /// # Errors
    /// No server is there.
    pub async fn begin(&self, metadata: Metadata) -> Result<Transaction, Error> {
        let deadline = self.deadline();
        loop {
            let session = self.session(deadline).await?;
            let turn = Arc::clone(&session.turn).acquire_owned().await;
            // The one before may have taken the connection with it.
            if let (Ok(turn), false) = (turn, session.is_over()) {
                return Ok(Transaction::new(self.clone(), session, turn, &metadata));
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.options.wait
    }

    async fn session(&self, deadline: Instant) -> Result<Arc<Session>, Error> {
        let mut sessions = self.shared.session.subscribe();
        let is_there =
            |session: &Option<Arc<Session>>| session.as_ref().is_some_and(|session| !session.is_over());
        let session = timeout_at(deadline, sessions.wait_for(is_there)).await;
        let session = session.ok().and_then(Result::ok).and_then(|session| session.clone());
        session.ok_or(Error::Unavailable(self.shared.options.wait))
    }
}
