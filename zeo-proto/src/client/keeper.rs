//! The task that keeps a client connected: it dials, registers, compares the cache, and looks after the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::push::Push;
use super::session::Session;
use super::shared::Shared;
use super::traffic::{Traffic, take_push};
use super::world::random;
use super::{Access, Address, Connection, Dialer, Error, Event, Stream, Verification, View, backoff, calls};
use crate::Encoding;

/// How long a connection may take to be established.
const CONNECT: Duration = Duration::from_secs(5);
/// After so long, and up to as long again, a client that waits to be greeted dials anew: the server may have vanished.
const PARKED: Duration = Duration::from_secs(60);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    dialer: Dialer,
    /// What the dialer counts its moments from.
    epoch: Instant,
    /// Since when all servers that were reached have lacked what the client has seen.
    behind_since: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let options = &shared.options;
        let dialer = Dialer::new(options.addresses.clone(), options.access, options.backoff);
        Self { shared, dialer, epoch: Instant::now(), behind_since: None }
    }

    /// Goes on until nobody has the client any more.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<()>) {
        tokio::select! {
            // Only the end of the handle changes it.
            _ = stopped.changed() => {}
            never = self.keep() => match never {},
        }
        self.shared.session.send_replace(None);
    }

    async fn keep(&mut self) -> std::convert::Infallible {
        let shared = Arc::clone(&self.shared);
        loop {
            let (address, connection) = self.connect().await;
            let (session, commands) = Session::new(address, connection.encoding());
            shared.session.send_replace(Some(Arc::new(session)));
            let why = Traffic::new(connection, &shared, &mut self.dialer).run(commands).await;
            shared.session.send_replace(None);
            shared.tell(Event::Disconnected(why.to_string().into()));
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Dials until a server has let the client in and its cache is as that says.
    async fn connect(&mut self) -> (Address, Connection) {
        self.dialer.begin(self.now(), random);
        let mut attempts = JoinSet::new();
        let encoding = self.shared.options.encoding;
        loop {
            for address in self.dialer.due(self.now()) {
                attempts.spawn(async move {
                    let greeted = greeted(&address, encoding).await;
                    (address, greeted)
                });
            }
            let next = self.dialer.next_due();
            tokio::select! {
                Some(attempt) = attempts.join_next() => {
                    // An attempt neither panics nor is aborted while this waits for it.
                    let Ok((address, greeted)) = attempt else { continue };
                    let joined = match greeted {
                        Ok(connection) => self.join(&address, connection).await,
                        Err(error) => Err(error),
                    };
                    match joined {
                        Ok(connection) => return (address, connection),
                        Err(_) => self.dialer.failed(&address, self.now(), random()),
                    }
                }
                () = sleep_until(self.epoch + next.unwrap_or_default()), if next.is_some() => {}
            }
        }
    }

    /// Registers with a server that has greeted, and makes the cache fit.
    async fn join(&mut self, address: &Address, connection: Connection) -> Result<Connection, Error> {
        let patience = self.shared.options.silence * 3;
        let joined = timeout(patience, self.register(address, connection)).await;
        joined.unwrap_or_else(|_| Err(Error::disconnected("the server does not answer")))
    }

    async fn register(&mut self, address: &Address, mut connection: Connection) -> Result<Connection, Error> {
        connection.keep_pushes();
        let shared = Arc::clone(&self.shared);
        let read_only = shared.options.access == Access::ReadOnly;
        let server = connection.register(&shared.options.storage, read_only).await?;
        let info = connection.ask(calls::info()).await?;
        if let Some(view) = View::in_info(&info) {
            self.dialer.see(view);
            self.dialer.view().into_iter().for_each(|view| shared.set_view(view));
        }
        let verification = Verification::of(&shared.cache(), server);
        match verification {
            Verification::Valid => shared.cache().advance(server),
            Verification::Ask(since) => match connection.ask(calls::invalidations(since)).await? {
                Some(told) => {
                    let mut cache = shared.cache();
                    told.oids.iter().for_each(|oid| cache.forget(*oid));
                    let tid = told.tid;
                    shared.tell(Event::CaughtUp(Arc::new(told)));
                    cache.advance(tid);
                }
                None => self.drop_history(server),
            },
            Verification::Behind => {
                let since = *self.behind_since.get_or_insert_with(Instant::now);
                if since.elapsed() < shared.options.behind {
                    return Err(Error::disconnected("the server lacks what the client has seen"));
                }
                self.drop_history(server);
            }
        }
        self.behind_since = None;
        let last_tid = shared.cache().last_tid();
        shared.tell(Event::Connected { address: address.clone(), tid: last_tid });
        for push in connection.take_pushes() {
            let is_known = matches!(&push, Push::Invalidated(told) if told.tid <= last_tid);
            if !is_known {
                take_push(&shared, &mut self.dialer, push);
            }
        }
        Ok(connection)
    }

    fn drop_history(&self, server: crate::Tid) {
        let mut cache = self.shared.cache();
        cache.drop_history();
        self.shared.tell(Event::HistoryChanged);
        cache.advance(server);
    }
}

/// Connects, and waits at the server's door until it is opened.
async fn greeted(address: &Address, encoding: Option<Encoding>) -> Result<Connection, Error> {
    let stream = timeout(CONNECT, Stream::connect(address)).await;
    let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    let parked = PARKED + backoff::part_of(PARKED, random());
    let greeted = timeout(parked, Connection::greet(stream, encoding)).await;
    greeted.unwrap_or_else(|_| Err(Error::disconnected("the server does not greet")))
}
