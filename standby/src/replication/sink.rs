//! The receiving end of a stream, as a pure state machine.
//!
//! It says what its copy has, does what the source makes of that, and has transactions applied in the order in which
//! they come. What it tells the source is durable, is.

use replica::{Checksum, Epochs, Place};
use zeo_proto::{Oid, Tid};

use bytes::Bytes;

use super::message::{Flow, FromSink, FromSource, Have, Recovery};
use super::route::{BadRoute, Route};
use super::run::Compression;

/// What happens to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection to the source stands, or the copy was rewound or emptied: this is what it has.
    Ready {
        /// It.
        have: Have,
        /// It is in the middle of a fast recovery up to this transaction.
        recovering: Option<Tid>,
    },
    /// The source says something.
    Received(FromSource),
    /// The answer to [`Action::Look`].
    Looked(Option<Checksum>),
    /// Every transaction up to this one is durable and published.
    Applied(Tid),
    /// The running checksum is the anchor's, durably.
    Anchored,
    /// Something could not be done.
    Failed(String),
}

/// What is to be done for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this to the source.
    Send(FromSink),
    /// Find the checksum at this transaction, and answer with [`Event::Looked`].
    Look(Tid),
    /// Take over the source's epochs. Durable before anything that follows. Where they are other than before, this
    /// node's own streams to others end: those who follow it must hear of them.
    TakeEpochs(Epochs),
    /// The copy is not whole until it has this transaction. Durable before anything that follows.
    BeginRecovery(Tid),
    /// The copy is whole.
    EndRecovery,
    /// Part of a blob of the transaction that is applied next.
    Blob {
        /// Its object.
        oid: Oid,
        /// It is whole with this part.
        last: bool,
        /// The part.
        data: Bytes,
    },
    /// When everything that came is applied, the running checksum is the anchor's. Then say [`Event::Anchored`].
    TakeAnchor(Place),
    /// Commit this transaction after those before it. Its checksum must be `checksum`, else it must not be committed.
    Apply {
        /// Its tid.
        tid: Tid,
        /// What the running checksum is to be, where that can be compared.
        checksum: Option<Checksum>,
        /// In its portable form.
        portable: Bytes,
    },
    /// Drop everything after this transaction, saving it, then say [`Event::Ready`].
    Rewind(Tid),
    /// Set the whole copy aside, then say [`Event::Ready`].
    SetAside,
    /// The source has packed up to this transaction.
    Pack(Tid),
    /// The source is so far.
    Upstream {
        /// Its last transaction.
        last: Tid,
        /// The length of its log up to there.
        log_bytes: u64,
        /// Its wall clock, in microseconds since 1970.
        unix_micros: u64,
        /// How many upstreams lie between it and the primary.
        distance: u8,
    },
    /// This is what the node follows.
    Route(Route),
    /// The stream ends here; another may be tried.
    Close(End),
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The source is not as far as this node.
    #[error("the upstream cannot serve yet: {0}")]
    Wait(String),
    /// The source refuses.
    #[error("the upstream refuses: {0}")]
    Refused(String),
    /// The source breaks the protocol.
    #[error("the upstream says out of turn: {0}")]
    OutOfTurn(String),
    /// This node cannot go on.
    #[error("{0}")]
    Failed(String),
    /// The source follows this node, directly or through others, or too many others.
    #[error("{0}")]
    Route(#[from] BadRoute),
}

/// The sink of one stream.
#[derive(Debug)]
pub struct Sink {
    /// The node's own name.
    node: String,
    recovery: Recovery,
    compression: Compression,
    have: Option<Have>,
    /// A recovery was interrupted.
    recovering: bool,
    state: State,
    /// The source has said whom it follows.
    knows_route: bool,
    /// Everything up to here was received.
    received: Tid,
    /// Everything up to here is durable.
    durable: Tid,
    /// A blob has begun and is not whole.
    blob: Option<Oid>,
}

#[derive(Debug)]
enum State {
    /// The copy is being opened, rewound or set aside.
    Preparing,
    /// The source knows what the copy has.
    Asked,
    /// The copy's checksum is being looked up.
    Looking,
    /// Transactions come; up to the anchor, if that lies ahead, there may be holes.
    Flowing {
        anchor: Option<Place>,
    },
    Closed,
}

impl Sink {
    /// The sink of the node of this name, which recovers so, if it must, and takes what is compressed so.
    pub fn new(node: &str, recovery: Recovery, compression: Compression) -> Self {
        Self {
            node: node.to_owned(),
            recovery,
            compression,
            have: None,
            recovering: false,
            state: State::Preparing,
            knows_route: false,
            received: Tid::ZERO,
            durable: Tid::ZERO,
            blob: None,
        }
    }

    /// What to do about an event. Nothing, once the stream is closed.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match (event, &self.state) {
            (_, State::Closed) => {}
            (Event::Ready { have, recovering }, State::Preparing) => self.ask(have, recovering, &mut actions),
            (Event::Looked(checksum), State::Looking) => {
                self.state = State::Asked;
                actions.push(Action::Send(FromSink::Compared(checksum)));
            }
            (Event::Applied(tid), State::Flowing { .. }) => self.applied(tid, &mut actions),
            (Event::Anchored, State::Flowing { .. }) => actions.push(Action::EndRecovery),
            (Event::Applied(_) | Event::Anchored, _) => {} // of a stream that ended
            (Event::Received(message), _) => self.receive(message, &mut actions),
            (Event::Failed(reason), _) => {
                self.state = State::Closed;
                actions.push(Action::Send(FromSink::Failed(reason.clone())));
                actions.push(Action::Close(End::Failed(reason)));
            }
            (event, state) => panic!("{event:?} while {state:?}"),
        }
        actions
    }

    fn ask(&mut self, have: Have, recovering: Option<Tid>, actions: &mut Vec<Action>) {
        self.state = State::Asked;
        self.have = Some(have.clone());
        self.recovering = recovering.is_some();
        let (recovery, compression) = (self.recovery, self.compression);
        actions.push(Action::Send(FromSink::Have { have, recovery, compression, recovering }));
    }

    fn applied(&mut self, tid: Tid, actions: &mut Vec<Action>) {
        assert!(tid > self.durable && tid <= self.received, "transactions are applied in order");
        self.durable = tid;
        actions.push(Action::Send(FromSink::Durable(tid)));
    }

    fn receive(&mut self, message: FromSource, actions: &mut Vec<Action>) {
        match (message, &self.state) {
            (FromSource::Compare(tid), State::Asked) => {
                self.state = State::Looking;
                actions.push(Action::Look(tid));
            }
            (FromSource::Rewind { fork }, State::Asked) if fork < self.last() => {
                self.state = State::Preparing;
                actions.push(Action::Rewind(fork));
            }
            (FromSource::Recover, State::Asked) if self.last() > Tid::ZERO => {
                self.state = State::Preparing;
                actions.push(Action::SetAside);
            }
            (FromSource::Stream { what, after, anchor, epochs }, State::Asked)
                if self.knows_route && after == self.last() && self.can_take(what, after, anchor) =>
            {
                self.begin(after, anchor, epochs, actions);
            }
            (FromSource::Blob { oid, last, data }, State::Flowing { .. }) if self.fits(oid) => {
                self.blob = (!last).then_some(oid);
                actions.push(Action::Blob { oid, last, data });
            }
            (FromSource::Transaction { tid, checksum, portable }, State::Flowing { anchor, .. })
                if tid > self.received && self.blob.is_none() =>
            {
                let checksum = anchor.is_none().then_some(checksum);
                self.received = tid;
                actions.push(Action::Apply { tid, checksum, portable });
            }
            (FromSource::Whole, State::Flowing { anchor: Some(anchor) }) if self.blob.is_none() => {
                let anchor = *anchor;
                self.state = State::Flowing { anchor: None };
                actions.push(Action::TakeAnchor(anchor));
            }
            // What comes before the anchor was packed at least so far.
            (FromSource::Packed { .. }, State::Flowing { anchor: Some(_) }) => {}
            (FromSource::Packed { until }, State::Flowing { .. }) if until <= self.received => {
                actions.push(Action::Pack(until));
            }
            (FromSource::Alive { last, log_bytes, unix_micros, distance }, State::Flowing { .. }) => {
                actions.push(Action::Upstream { last, log_bytes, unix_micros, distance });
            }
            (FromSource::Route(route), _) => match route.check(&self.node) {
                Ok(()) => {
                    self.knows_route = true;
                    actions.push(Action::Route(route));
                }
                Err(bad) => {
                    actions.push(Action::Send(FromSink::Failed(bad.to_string())));
                    self.close(End::Route(bad), actions);
                }
            },
            (FromSource::Wait(reason), State::Asked) => self.close(End::Wait(reason), actions),
            (FromSource::Refused(reason), _) => self.close(End::Refused(reason), actions),
            (message, _) => {
                let mut said = format!("{message:?}");
                said.truncate(said.floor_char_boundary(200));
                self.close(End::OutOfTurn(said), actions);
            }
        }
    }

    fn begin(&mut self, after: Tid, anchor: Option<Place>, epochs: Epochs, actions: &mut Vec<Action>) {
        actions.push(Action::TakeEpochs(epochs));
        if let Some(anchor) = anchor {
            // Up to the anchor there may be holes, so that the copy is one only when it has come so far.
            actions.push(Action::BeginRecovery(anchor.tid));
        }
        (self.received, self.durable) = (after, after);
        self.state = State::Flowing { anchor };
    }

    /// What has holes needs an anchor, and it lies ahead.
    fn can_take(&self, what: Flow, after: Tid, anchor: Option<Place>) -> bool {
        match anchor {
            Some(anchor) => after <= anchor.tid,
            None => what == Flow::All && !self.recovering,
        }
    }

    fn last(&self) -> Tid {
        self.have.as_ref().map_or(Tid::ZERO, |have| have.last.tid)
    }

    fn fits(&self, oid: Oid) -> bool {
        self.blob.is_none_or(|begun| begun == oid)
    }

    fn close(&mut self, end: End, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        actions.push(Action::Close(end));
    }
}
