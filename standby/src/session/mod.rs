//! One client's session: the ZEO service as a state machine.
//!
//! A [`Session`] takes frames and events and appends frames to an [`Outbox`]. It owns no socket, no task and no
//! clock. What must not be done on the connection's task (reads that have to wait for a disk, walks through the
//! log) it hands out as a [`Job`]; the job's [`Completion`] comes back as an event.
//!
//! **The view.** Each session looks at the storage as of one transaction, its view: the last one whose
//! invalidation it has written to the client. It moves the view forward only by taking the next publications
//! ([`Session::catch_up`]) and computes every load as of the view. So an invalidation for T precedes every reply
//! that reflects T, no reply that T makes stale follows it, and `lastTransaction` never runs ahead, whatever the
//! committer does at the same time.

mod blobs;
#[cfg(test)]
mod bulletin_test;
mod dispatch;
mod errors;
mod information;
#[cfg(test)]
mod interleavings;
mod iteration;
mod loads;
mod pack;
mod status;
mod transaction;
mod two_phase;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use zeo_proto::{Encoder, Encoding, ErrorReply, MsgId, Tid, Value};

use self::blobs::BlobTraffic;
use self::iteration::Iterators;
use self::loads::PendingLoads;
pub(crate) use self::status::storage_status_json;
use self::two_phase::Phase;
use crate::server::Served;
use crate::service::Service;
use crate::service::clients::Client;
use crate::service::mailbox::{Event, Mailbox};
use crate::service::publications::{FellBehind, Publication, SessionId};

/// Jobs of one session that may be under way; beyond it the connection reads no further requests.
const JOBS_MAX: usize = 64;

/// Why a connection is closed by the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    /// The frame is not a message of the protocol.
    #[error("undecodable message: {0}")]
    Undecodable(#[from] zeo_proto::DecodeError),
    /// The stock server closes on these without a word, and clients rely on nothing better.
    #[error("no method {0:?}")]
    UnknownMethod(String),
    /// Only `register` may come first.
    #[error("{0} before register")]
    NotRegistered(&'static str),
    /// `register` may succeed once.
    #[error("register for a second time")]
    RegisteredTwice,
    /// A call that expects no answer failed, so that closing is the only way to say so.
    #[error("{method}, a call without a reply, failed: {error:?}")]
    FailedCall {
        /// The call.
        method: &'static str,
        /// What would have been the answer.
        error: Box<ErrorReply>,
    },
    /// The client did not read for so long that what it missed is gone.
    #[error("the client has not read its invalidations for too long")]
    FellBehind,
    /// `transaction-timeout` passed between a vote and its finish.
    #[error("the transaction took longer than the transaction timeout")]
    TransactionTimeout,
    /// The answer to the greeting was no protocol that is spoken here.
    #[error("the client answered the greeting with {0:?}")]
    BadHandshake(String),
    /// The server stops.
    #[error("the server stops")]
    Shutdown,
    /// This node lost its lease, and nobody could say in time whether the client's transaction is in the history.
    #[error("whether its transaction is lost is not known, and this node is not the primary any more")]
    NoOutcome,
}

/// Work that is done away from the connection's task.
pub(crate) struct Job {
    /// Waits this long after the work, before the completion is delivered.
    pub delay: Duration,
    /// The work. May block.
    pub run: Box<dyn FnOnce() -> Completion + Send>,
}

/// The outcome of a [`Job`].
pub(crate) enum Completion {
    /// A load.
    Load(loads::LoadedAway),
    /// A vote.
    Vote(Box<two_phase::VotedAway>),
    /// Some of an upload is written.
    Upload(Box<blobs::Uploaded>),
    /// Some of a download is read.
    Download(blobs::Downloaded),
    /// Work whose end nobody is told.
    Nothing,
    /// Anything that has just an answer.
    Answer(Answer),
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Load(_) => "Completion::Load",
            Self::Vote(_) => "Completion::Vote",
            Self::Upload(_) => "Completion::Upload",
            Self::Download(_) => "Completion::Download",
            Self::Nothing => "Completion::Nothing",
            Self::Answer(_) => "Completion::Answer",
        })
    }
}

/// A reply that waits until the session's view has reached what it reflects.
pub(crate) struct Answer {
    call: Call,
    as_of: Tid,
    result: Result<Value<'static>, ErrorReply>,
}

/// The call that an answer belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Echoed in the reply.
    pub msgid: MsgId,
    /// The client expects no reply.
    pub oneway: bool,
    /// The method's name.
    pub method: &'static str,
}

/// What a session produces.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Frames for the client, in order.
    pub bytes: Vec<u8>,
    /// Work to be started.
    pub jobs: Vec<Job>,
}

/// One client connection after the handshake.
pub(crate) struct Session {
    served: Arc<Served>,
    encoder: Encoder,
    encoding: Encoding,
    mailbox: Mailbox,
    client: Arc<Client>,
    /// It came through a door for read-only clients.
    read_only: bool,
    registered: Option<Registered>,
    jobs_under_way: usize,
    /// The server stops: only a commit under way is waited for.
    stopping: bool,
}

/// What a session has once it is registered with a storage.
struct Registered {
    service: Service,
    client: Arc<Client>,
    session: SessionId,
    read_only: bool,
    /// Sequence number of the last publication taken.
    sequence: u64,
    /// The tid of that publication: the transaction as of which everything is read.
    view: Tid,
    loads: PendingLoads,
    /// Answers that reflect transactions after the view.
    deferred: Vec<Answer>,
    iterators: Iterators,
    blobs: BlobTraffic,
    phase: Phase,
    /// Counts the votes that went to a job, so that one which was aborted meanwhile is known.
    ballots: u64,
    /// The last bulletin that the client was told of.
    bulletin: u64,
    /// The data of the record being loaded; kept to save allocations.
    buffer: Vec<u8>,
}

impl Session {
    /// A session in this encoding with a client, which may have to be `read_only`.
    pub fn new(
        served: Arc<Served>,
        encoding: Encoding,
        mailbox: Mailbox,
        client: Arc<Client>,
        read_only: bool,
    ) -> Self {
        let encoder = Encoder::new(encoding);
        Self {
            served,
            encoder,
            encoding,
            mailbox,
            client,
            read_only,
            registered: None,
            jobs_under_way: 0,
            stopping: false,
        }
    }

    /// The client has given itself a name.
    fn set_label(&mut self, label: &str) {
        self.client.set_label(label);
        tracing::info!(client = %self.client.name(), "client label");
    }

    /// Whether the session takes further requests now.
    pub fn is_ready(&self) -> bool {
        let uploads = self.registered.as_ref().is_none_or(|registered| registered.blobs.is_ready());
        self.jobs_under_way < JOBS_MAX && uploads && !self.stopping
    }

    /// Since when the transaction timeout runs, if it does.
    pub fn locked_for(&self) -> Option<(tokio::time::Instant, Duration)> {
        let registered = self.registered.as_ref()?;
        let limit = registered.service.options().transaction_timeout?;
        Some((registered.phase.locked_since()?, limit))
    }

    /// Takes an event from elsewhere in the server.
    pub fn handle(&mut self, event: Event, out: &mut Outbox) -> Result<(), CloseReason> {
        self.catch_up(out)?;
        match event {
            Event::Published => Ok(()),
            Event::LocksGranted(owner) => self.locks_granted(owner, out),
            Event::CommitFailed(reason) => {
                self.commit_failed(&reason, out);
                Ok(())
            }
            Event::Completed(completion) => {
                self.jobs_under_way -= 1;
                self.completed(*completion, out)
            }
            Event::SizeChanged => {
                self.push_info(out);
                Ok(())
            }
            Event::Shutdown => {
                self.stopping = true;
                Ok(())
            }
            Event::Dismissed => Err(CloseReason::NoOutcome),
        }?;
        if self.stopping
            && !self.registered.as_ref().is_some_and(|registered| registered.phase.is_finishing())
        {
            return Err(CloseReason::Shutdown);
        }
        Ok(())
    }

    /// Takes what was announced and published since the last time: writes the invalidations (or, for the session's own
    /// transaction, the reply to `tpc_finish`) and moves the view.
    pub fn catch_up(&mut self, out: &mut Outbox) -> Result<(), CloseReason> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        registered.tell_bulletin(&self.encoder, &mut out.bytes);
        let publications = match registered.service.publications().after(registered.sequence) {
            Ok(publications) if publications.is_empty() => return Ok(()),
            Ok(publications) => publications,
            Err(FellBehind) => return Err(CloseReason::FellBehind),
        };
        for publication in publications {
            registered.take(&publication, &self.encoder, &mut out.bytes);
        }
        self.release_deferred(out)
    }

    fn release_deferred(&mut self, out: &mut Outbox) -> Result<(), CloseReason> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        let view = registered.view;
        let ripe: Vec<Answer> = registered.deferred.extract_if(.., |answer| answer.as_of <= view).collect();
        ripe.into_iter().try_for_each(|answer| self.answer(&answer.call, answer.result, out))
    }

    fn completed(&mut self, completion: Completion, out: &mut Outbox) -> Result<(), CloseReason> {
        match completion {
            Completion::Load(loaded) => self.loaded_away(loaded, out),
            Completion::Vote(voted) => self.voted_away(*voted, out),
            Completion::Upload(uploaded) => {
                self.uploaded(*uploaded);
                Ok(())
            }
            Completion::Download(downloaded) => self.downloaded(downloaded, out),
            Completion::Nothing => Ok(()),
            Completion::Answer(answer) => {
                if let Some(registered) = &mut self.registered {
                    registered.deferred.push(answer);
                }
                self.release_deferred(out)
            }
        }
    }

    /// Writes the answer to a call. A call without a reply can only fail by closing the connection.
    fn answer(
        &self,
        call: &Call,
        result: Result<Value<'_>, ErrorReply>,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        match result {
            Ok(_) if call.oneway => {}
            Err(error) if call.oneway => {
                return Err(CloseReason::FailedCall { method: call.method, error: Box::new(error) });
            }
            Ok(value) => self.encoder.reply(&mut out.bytes, &call.msgid, &value),
            Err(error) => self.encoder.error(&mut out.bytes, &call.msgid, &error),
        }
        Ok(())
    }

    /// Answers a call from a job: for whatever has to read the log as far as it goes.
    fn answer_away(
        &mut self,
        call: Call,
        out: &mut Outbox,
        work: impl FnOnce(&Service) -> Result<Value<'static>, ErrorReply> + Send + 'static,
    ) {
        self.answer_as_of(call, out, move |service| {
            let result = work(service);
            (service.storage().last_tid(), result)
        });
    }

    /// The same where the answer depends on nothing later than the transaction that comes with it: it waits until the view
    /// has that, and not for what is durable beyond and waits to be published.
    fn answer_as_of(
        &mut self,
        call: Call,
        out: &mut Outbox,
        work: impl FnOnce(&Service) -> (Tid, Result<Value<'static>, ErrorReply>) + Send + 'static,
    ) {
        let service = self.registered().service.clone();
        self.start(out, Duration::ZERO, move || {
            let (as_of, result) = work(&service);
            Completion::Answer(Answer { call, as_of, result })
        });
    }

    fn start(
        &mut self,
        out: &mut Outbox,
        delay: Duration,
        run: impl FnOnce() -> Completion + Send + 'static,
    ) {
        self.jobs_under_way += 1;
        out.jobs.push(Job { delay, run: Box::new(run) });
    }

    /// The registration. Only methods that are refused before `register` call this.
    fn registered(&mut self) -> &mut Registered {
        self.registered.as_mut().expect("checked in dispatch: the session is registered")
    }
}

impl Registered {
    fn take(&mut self, publication: &Publication, encoder: &Encoder, out: &mut Vec<u8>) {
        debug_assert!(publication.sequence == self.sequence + 1 && publication.tid > self.view);
        self.sequence = publication.sequence;
        self.view = publication.tid;
        if publication.origin.is_some_and(|origin| origin.session == self.session) {
            self.finished(publication, encoder, out);
        } else {
            encoder.invalidate_transaction(out, publication.tid, &publication.oids);
        }
        self.loads.invalidate(&publication.oids);
    }
}

/// A connection that ends aborts its transaction, gives back its locks and leaves the storage.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(registered) = &mut self.registered {
            if registered.phase.is_open() {
                registered.client.counts.aborts.add_one();
            }
            registered.abandon_transaction();
            registered.service.leave(registered.session);
        }
    }
}
