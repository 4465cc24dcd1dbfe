//! One client's connection: the I/O around a [`Session`].
//!
//! Owns the socket, decides nothing. Requests are read in bulk, each is answered into one buffer, and the buffer
//! is written in one call, so that a client with many requests outstanding costs few system calls.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::{debug, info, warn};
use zeo_proto::{frame, handshake};

use crate::appetite::Appetite;
use crate::busy_poll::{Habit, PATIENCE, ReceiveNow};
use crate::door::Door;
use crate::quiet::Quiet;
use crate::server::Served;
use crate::service::clients::Client;
use crate::service::mailbox::{Event, Inbox, Mailbox, mailbox};
use crate::session::{CloseReason, Job, Outbox, Session};
use crate::world;

/// Unsent bytes beyond which no further requests are taken from the client.
const UNSENT_HIGH_WATER: usize = 1 << 20;
/// A client that takes nothing of what waits for it for so long is gone.
const STALL_LIMIT: Duration = Duration::from_secs(120);
/// How much is received at once while busy polling.
const BUSY_POLL_CHUNK: usize = 16 << 10;
/// What may be read of a client before it has answered the greeting, in bytes.
const HANDSHAKE_BYTES_MAX: u32 = 64;
/// How long the answer to the greeting may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// A client that must leave waits at most so long for the outcome of its transaction. It may be long before that is known:
/// a primary that was cut off does not hear of it.
const OUTCOME_LIMIT: Duration = Duration::from_secs(1);

/// What ended a connection.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Eof,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Closed(#[from] CloseReason),
    #[error("{0}")]
    Frame(#[from] frame::FrameTooLarge),
    #[error("the client reads nothing")]
    Stalled,
    #[error("no answer to the greeting")]
    Silent,
    #[error("told its health")]
    Health,
    #[error("too many clients wait for this node to serve them")]
    Crowded,
}

/// What the connection waits for, come true.
enum Turn {
    Received,
    Event(Event),
    Wrote,
    Late,
}

struct Connection<S> {
    stream: S,
    received: BytesMut,
    appetite: Appetite,
    outbox: Outbox,
    /// How much of `outbox.bytes` is sent.
    sent: usize,
    /// The stream (TLS) may still hold something of what was sent.
    unflushed: bool,
    /// When the client last took something of what waits for it.
    last_progress: Instant,
    mailbox: Mailbox,
    inbox: Inbox,
    habit: Habit,
    door: Door,
    quiet: Quiet,
    client: Arc<Client>,
}

/// Serves a client until it leaves, breaks the protocol, or the server stops.
pub async fn serve<S>(
    stream: S,
    served: Arc<Served>,
    door: Door,
    peer: String,
    shutdown: tokio::sync::watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + ReceiveNow + Unpin + Send,
{
    debug!(%peer, "connected");
    let (mailbox, inbox) = mailbox();
    let stop = stop_on(shutdown, door.clone(), mailbox.clone());
    let mut connection = Connection {
        stream,
        received: BytesMut::new(),
        appetite: Appetite::default(),
        outbox: Outbox::default(),
        sent: 0,
        unflushed: false,
        last_progress: Instant::now(),
        mailbox,
        inbox,
        habit: Habit::new(served.last_active.clone()),
        door,
        quiet: served.quiet.clone(),
        client: Arc::new(Client::new(peer)),
    };
    let end = connection.run(&served).await;
    let peer = connection.client.name();
    stop.abort();
    match end {
        End::Eof | End::Health => debug!(%peer, reason = %end, "disconnected"),
        End::Closed(CloseReason::Shutdown) => debug!(%peer, reason = %end, "closed"),
        End::Io(error) => info!(%peer, %error, "connection lost"),
        reason => warn!(%peer, %reason, "closed the connection"),
    }
}

/// Passes on as events that the server stops, and that the door closes behind a client that was let in.
fn stop_on(
    mut shutdown: tokio::sync::watch::Receiver<bool>,
    door: Door,
    mailbox: Mailbox,
) -> tokio::task::AbortHandle {
    let task = tokio::spawn(async move {
        let stopped = async { drop(shutdown.wait_for(|stop| *stop).await) };
        let mut closed = pin!(async { door.closed(door.opened().await).await });
        tokio::select! {
            () = stopped => {
                mailbox.send(Event::Shutdown);
                // Until then there will be an outcome.
                closed.await;
            }
            () = &mut closed => mailbox.send(Event::Shutdown),
        }
        sleep(OUTCOME_LIMIT).await;
        mailbox.send(Event::Dismissed);
    });
    task.abort_handle()
}

impl<S: AsyncRead + AsyncWrite + ReceiveNow + Unpin> Connection<S> {
    /// Why the connection ended.
    async fn run(&mut self, served: &Arc<Served>) -> End {
        // In a box: the client may stay for long after it.
        match Box::pin(self.greet(served)).await {
            Ok(mut session) => self.converse(&mut session, served.limits().frame_bytes_max).await,
            Err(end) => end,
        }
    }

    /// Greets, and makes a session in the encoding that the client chooses.
    async fn greet(&mut self, served: &Arc<Served>) -> Result<Session, End> {
        if !self.door.is_open() {
            self.wait_at_the_door(served).await?;
        }
        frame::write(&mut self.outbox.bytes, |out| {
            out.extend_from_slice(handshake::greeting(served.encoding))
        });
        let deadline = Instant::now() + HANDSHAKE_LIMIT;
        let answer = loop {
            if let Some(answer) = frame::split(&mut self.received, HANDSHAKE_BYTES_MAX)? {
                break answer;
            }
            match self.turn(true, Some(deadline)).await? {
                Turn::Late => return Err(End::Silent),
                Turn::Event(Event::Shutdown) => return Err(CloseReason::Shutdown.into()),
                Turn::Received | Turn::Wrote | Turn::Event(_) => {}
            }
        };
        match handshake::parse_answer(&answer) {
            handshake::Answer::Protocol(encoding) => {
                let door = self.door.is_read_only();
                Ok(Session::new(served.clone(), encoding, self.mailbox.clone(), self.client.clone(), door))
            }
            handshake::Answer::Ruok => Err(self.tell_health(served).await),
            handshake::Answer::Unsupported => {
                let shown = String::from_utf8_lossy(&answer).into_owned();
                Err(CloseReason::BadHandshake(shown).into())
            }
        }
    }

    /// Keeps a client waiting for its greeting, for as long as it takes. It may ask for the server's health meanwhile.
    async fn wait_at_the_door(&mut self, served: &Arc<Served>) -> Result<(), End> {
        let _place = self.door.park().map_err(|_| End::Crowded)?;
        debug!(peer = self.client.address(), "parked");
        let door = self.door.clone();
        let mut opened = pin!(door.opened());
        loop {
            let turn = tokio::select! {
                _ = &mut opened => return Ok(()),
                turn = self.turn(true, None) => turn?,
            };
            if let Turn::Event(Event::Shutdown) = turn {
                return Err(CloseReason::Shutdown.into());
            }
            if let Some(said) = frame::split(&mut self.received, HANDSHAKE_BYTES_MAX)? {
                return Err(match handshake::parse_answer(&said) {
                    handshake::Answer::Ruok => self.tell_health(served).await,
                    _ => CloseReason::BadHandshake(String::from_utf8_lossy(&said).into_owned()).into(),
                });
            }
        }
    }

    async fn tell_health(&mut self, served: &Arc<Served>) -> End {
        let status = served.status_json();
        frame::write(&mut self.outbox.bytes, |out| out.extend_from_slice(status.as_bytes()));
        match self.flush().await {
            Ok(()) => End::Health,
            Err(end) => end,
        }
    }

    async fn converse(&mut self, session: &mut Session, frame_bytes_max: u32) -> End {
        loop {
            if let Err(end) = self.take_requests(session, frame_bytes_max) {
                let _ = self.try_flush().await; // what was answered before the end still belongs to the client
                return end;
            }
            if self.unsent() < UNSENT_HIGH_WATER {
                session.resume(&mut self.outbox);
            }
            self.start_jobs();
            let timeout = session.locked_for().map(|(since, limit)| since + limit);
            let takes_requests = session.is_ready() && self.unsent() < UNSENT_HIGH_WATER;
            let outcome = match self.next(takes_requests, timeout).await {
                // What was published waits where it is while the client does not read.
                Ok(Turn::Event(Event::Published)) if self.unsent() >= UNSENT_HIGH_WATER => Ok(()),
                Ok(Turn::Event(event)) => session.handle(event, &mut self.outbox).map_err(End::from),
                Ok(Turn::Late) => Err(CloseReason::TransactionTimeout.into()),
                Ok(Turn::Received | Turn::Wrote) => Ok(()),
                Err(end) => Err(end),
            };
            if let Err(end) = outcome {
                let _ = self.try_flush().await;
                return end;
            }
        }
    }

    /// Answers what has been received, as far as the client takes answers.
    fn take_requests(&mut self, session: &mut Session, frame_bytes_max: u32) -> Result<(), End> {
        if self.unsent() < UNSENT_HIGH_WATER {
            session.catch_up(&mut self.outbox)?;
        }
        let mut consumed = 0;
        let mut result = Ok(());
        while session.is_ready() && self.unsent() < UNSENT_HIGH_WATER {
            match frame::peek(&self.received[consumed..], frame_bytes_max) {
                Ok(Some((payload, length))) => {
                    consumed += length;
                    result = session.receive(payload, &mut self.outbox).map_err(End::from);
                }
                Ok(None) => break,
                Err(error) => result = Err(error.into()),
            }
            if result.is_err() {
                break;
            }
        }
        self.received.advance(consumed);
        result
    }

    fn start_jobs(&mut self) {
        for Job { delay, run } in self.outbox.jobs.drain(..) {
            let mailbox = self.mailbox.clone();
            if delay.is_zero() {
                world::spawn_blocking(move || mailbox.send(Event::Completed(Box::new(run()))));
            } else {
                tokio::spawn(async move {
                    let done = world::spawn_blocking(run).await;
                    tokio::time::sleep(delay).await;
                    mailbox.send(Event::Completed(Box::new(done.expect("no job panics"))));
                });
            }
        }
    }

    fn unsent(&self) -> usize {
        self.outbox.bytes.len() - self.sent
    }

    /// What comes next, awake for a while where that pays.
    async fn next(&mut self, read: bool, deadline: Option<Instant>) -> Result<Turn, End> {
        self.quiet.over().await;
        let since = Instant::now();
        let polls = S::POSSIBLE && read && self.habit.pays();
        let turn = if polls && self.busy_poll(since).await? {
            Turn::Received
        } else {
            self.turn(read, deadline).await?
        };
        if matches!(turn, Turn::Received) {
            self.habit.received(since.elapsed());
        }
        Ok(turn)
    }

    /// Looks for requests until some are there, or something else is to be done.
    async fn busy_poll(&mut self, since: Instant) -> Result<bool, End> {
        self.try_flush().await?;
        let mut buffer = [0; BUSY_POLL_CHUNK];
        while self.inbox.is_empty() && self.habit.was_last() && since.elapsed() < PATIENCE {
            match self.stream.receive_now(&mut buffer) {
                Ok(0) => return Err(End::Eof),
                Ok(length) => {
                    self.received.extend_from_slice(&buffer[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Waits for whatever comes first, and sends what can be sent meanwhile.
    async fn turn(&mut self, read: bool, deadline: Option<Instant>) -> Result<Turn, End> {
        self.quiet.over().await;
        let mut late: Option<Pin<Box<Sleep>>> = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let mut stalled: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|context| {
            let unsent = self.unsent();
            if unsent > 0 || self.unflushed {
                let blocked = self.poll_send(context)?.is_pending();
                if blocked {
                    let limit = self.last_progress + STALL_LIMIT;
                    let sleep = stalled.get_or_insert_with(|| Box::pin(sleep_until(limit)));
                    if sleep.as_mut().poll(context).is_ready() {
                        if self.last_progress + STALL_LIMIT <= Instant::now() {
                            return Poll::Ready(Err(End::Stalled));
                        }
                        sleep.as_mut().reset(self.last_progress + STALL_LIMIT);
                    }
                }
            }
            if let Poll::Ready(event) = self.inbox.poll_recv(context) {
                let event = event.expect("the connection holds a sender of its own inbox");
                return Poll::Ready(Ok(Turn::Event(event)));
            }
            if read && self.poll_receive(context)?.is_ready() {
                return Poll::Ready(Ok(Turn::Received));
            }
            if unsent >= UNSENT_HIGH_WATER && self.unsent() < UNSENT_HIGH_WATER {
                return Poll::Ready(Ok(Turn::Wrote)); // requests can be taken again
            }
            match late.as_mut().map(|late| late.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(Ok(Turn::Late)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Sends until all is sent (ready) or the socket takes no more.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, End> {
        let mut wrote = self.sent == 0; // what waits now has only begun to wait
        while self.sent < self.outbox.bytes.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.outbox.bytes[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(End::Eof),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => {
                    self.client.queued_bytes.set(self.unsent() as u64);
                    if wrote {
                        self.last_progress = Instant::now();
                    }
                    return Ok(Poll::Pending);
                }
            }
        }
        self.client.queued_bytes.set(0);
        self.outbox.bytes.clear();
        self.outbox.bytes.shrink_to(UNSENT_HIGH_WATER);
        self.sent = 0;
        let flushed = Pin::new(&mut self.stream).poll_flush(context)?;
        self.unflushed = flushed.is_pending();
        Ok(flushed)
    }

    /// Receives some bytes (ready), or waits for some.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, End> {
        self.received.reserve(self.appetite.bytes());
        if self.received.is_empty() && self.appetite.is_too_large(self.received.capacity()) {
            self.received = BytesMut::with_capacity(self.appetite.bytes());
        }
        let room = self.received.capacity() - self.received.len();
        match pin!(self.stream.read_buf(&mut self.received)).poll(context) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(0)) => Err(End::Eof),
            Poll::Ready(Ok(came)) => {
                self.appetite.fed(came, room);
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(error.into()),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        poll_fn(|context| match self.poll_send(context) {
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Ok(Poll::Pending) => Poll::Pending,
            Err(end) => Poll::Ready(Err(end)),
        })
        .await
    }

    /// Sends what the socket takes at once.
    async fn try_flush(&mut self) -> Result<(), End> {
        poll_fn(|context| Poll::Ready(self.poll_send(context).map(|_| ()))).await
    }
}
