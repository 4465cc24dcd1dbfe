//! A connection without a socket: a [`Session`], and what its connection's task would do for it, one thing at a
//! time, when the test says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use zeo_proto::client_side::{Incoming, decode_incoming, encode_call};
use zeo_proto::{Encoding, Limits, MsgId, Tid, Value, frame};

use crate::server::Served;
use crate::service::clients::Client;
use crate::service::locks::Owner;
use crate::service::mailbox::{Event, Inbox, Mailbox, mailbox};
use crate::session::two_phase::Phase;
use crate::session::{CloseReason, Completion, Job, Outbox, Session};

/// Something that the server says.
#[derive(Debug)]
pub(super) enum Heard {
    Reply(MsgId, Result<Value<'static>, String>),
    Push(String, Vec<Value<'static>>),
}

/// A job that is to be done.
pub(super) struct Due {
    job: Job,
    /// It is a pack to this transaction; with `true`, its client waits for the end.
    pub(super) pack: Option<(Tid, bool)>,
}

/// A frame's payload, and what it asks for if that is a pack.
type Frame = (Vec<u8>, Option<(Tid, bool)>);

/// The connection.
pub(super) struct Line {
    session: Session,
    encoding: Encoding,
    mailbox: Mailbox,
    inbox: Inbox,
    /// What was taken out of the inbox, and not yet looked at.
    events: VecDeque<Event>,
    pub(super) jobs: Vec<Due>,
    /// Frames that were sent and not yet taken.
    input: VecDeque<Frame>,
}

impl Line {
    pub(super) fn new(served: &Arc<Served>, encoding: Encoding, name: &str) -> Self {
        let (mailbox, inbox) = mailbox();
        let client = Arc::new(Client::new(name.to_owned()));
        let session = Session::new(served.clone(), encoding, mailbox.clone(), client, false);
        let (events, jobs, input) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { session, encoding, mailbox, inbox, events, jobs, input }
    }

    /// Sends a call that wants no reply.
    pub(super) fn post(&mut self, method: &str, args: &[Value<'_>]) {
        self.send(&MsgId::NONE, true, method, args);
    }

    /// Sends a call.
    pub(super) fn call(&mut self, msgid: &MsgId, method: &str, args: &[Value<'_>]) {
        self.send(msgid, false, method, args);
    }

    fn send(&mut self, msgid: &MsgId, oneway: bool, method: &str, args: &[Value<'_>]) {
        let mut frame = Vec::new();
        encode_call(self.encoding, &mut frame, msgid, oneway, method, args);
        let pack = match args {
            [Value::Float(seconds), wait] if method == "pack" => Some((pack_tid(*seconds), wait.is_truthy())),
            _ => None,
        };
        self.input.push_back((frame.split_off(4), pack));
    }

    /// As a connection at each turn: takes what was published, then requests as long as the session takes any.
    pub(super) fn turn(&mut self) -> Vec<Heard> {
        let mut heard = self.catch_up();
        heard.extend(self.take_requests());
        heard
    }

    /// Takes what was published.
    pub(super) fn catch_up(&mut self) -> Vec<Heard> {
        let mut out = Outbox::default();
        let done = self.session.catch_up(&mut out);
        self.take(done, out)
    }

    /// Takes requests as long as the session takes any, as if they had come at one time with those before.
    pub(super) fn take_requests(&mut self) -> Vec<Heard> {
        let mut out = Outbox::default();
        let mut done = Ok(());
        while done.is_ok()
            && self.session.is_ready()
            && let Some((frame, pack)) = self.input.pop_front()
        {
            done = self.session.receive(&frame, &mut out);
            self.jobs.extend(out.jobs.drain(..).map(|job| Due { job, pack }));
        }
        self.session.resume(&mut out);
        self.take(done, out)
    }

    /// Whether it would take a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.session.is_ready() && self.input.is_empty()
    }

    /// Takes one event that waits. `None`: there is none.
    pub(super) fn event(&mut self) -> Option<Vec<Heard>> {
        self.drain();
        let event = self.events.pop_front()?;
        let mut out = Outbox::default();
        let done = self.session.handle(event, &mut out);
        Some(self.take(done, out))
    }

    /// Does a job, and delivers what comes of it.
    pub(super) fn work(&mut self, due: Due) {
        self.mailbox.send(Event::Completed(Box::new((due.job.run)())));
    }

    fn take(&mut self, done: Result<(), CloseReason>, out: Outbox) -> Vec<Heard> {
        self.jobs.extend(out.jobs.into_iter().map(|job| Due { job, pack: None }));
        let heard = self.listen(&out.bytes);
        if let Err(reason) = done {
            panic!("the server closed the connection: {reason}; last heard: {:?}", heard.last());
        }
        heard
    }

    fn listen(&self, mut bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some((payload, length)) = frame::peek(bytes, u32::MAX).expect("no limit") {
            let said = decode_incoming(self.encoding, payload, &Limits::REPLIES).expect("a message");
            heard.push(match said {
                Incoming::Reply { msgid, result } => Heard::Reply(msgid, Ok(result.into_owned())),
                Incoming::Error { msgid, class, .. } => Heard::Reply(msgid, Err(class)),
                Incoming::Call { method, args } => {
                    Heard::Push(method, args.into_iter().map(Value::into_owned).collect())
                }
            });
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty(), "the server writes whole messages");
        heard
    }

    fn drain(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(event) = self.inbox.poll_recv(&mut context) {
            self.events.push_back(event.expect("there is a sender of it here"));
        }
    }

    /// Whose locks its transaction has or waits for.
    pub(super) fn owner(&self) -> Option<Owner> {
        match &self.session.registered.as_ref()?.phase {
            Phase::Collecting { transaction, .. } | Phase::Waiting { transaction, .. } => {
                Some(transaction.owner)
            }
            Phase::Away { owner, .. } | Phase::Voted { owner, .. } => Some(*owner),
            Phase::Idle | Phase::Finishing { .. } => None,
        }
    }

    /// Whether its vote waits for locks, and has not been told yet that it has them.
    pub(super) fn waits_for_locks(&mut self) -> bool {
        self.drain();
        match self.session.registered.as_ref().map(|registered| &registered.phase) {
            Some(Phase::Waiting { transaction, .. }) => {
                let mut events = self.events.iter();
                !events
                    .any(|event| matches!(event, Event::LocksGranted(owner) if *owner == transaction.owner))
            }
            _ => false,
        }
    }

    /// Nothing is left to do.
    pub(super) fn is_idle(&mut self) -> bool {
        self.drain();
        self.jobs.is_empty() && self.events.is_empty() && self.input.is_empty()
    }
}

/// A time to which a pack goes up to this transaction, and does not stop short of it, as times are rounded.
pub(super) fn pack_time(tid: Tid) -> f64 {
    let mut seconds = tid.unix_seconds();
    while pack_tid(seconds) < tid {
        seconds = seconds.next_up();
    }
    seconds
}

/// The transaction up to which a pack to this time goes.
fn pack_tid(seconds: f64) -> Tid {
    Tid::from_time(UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Does a job whose connection has gone.
pub(super) fn work_for_nobody(due: Due) {
    let _: Completion = (due.job.run)();
}
