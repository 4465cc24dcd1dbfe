//! The sending end of a stream, as a pure state machine.
//!
//! It plans ([`plan`](super::plan)), then has transactions read and sent as they come, and tells the sink now and then
//! how far its own history is. What is sent was published: durable, and seen by clients.

use std::time::Duration;

use replica::Place;
use zeo_proto::Tid;

use super::message::{Flow, FromSink, FromSource, Have, Recovery};
use super::plan::{Known, Step, plan};
use super::route::Route;
use super::run::Compression;

use crate::world::Instant;

/// What happens to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sink says something.
    Received(FromSink),
    /// The answer to [`Action::Look`].
    Looked(Option<Place>),
    /// The answer to [`Action::Export`]: from this place on, what will be read is whole.
    Exporting(Place),
    /// The answer to [`Action::ReadNext`]: transactions were read and sent. To be told before anything
    /// that the sink says about them. Where [`FromSource::Stream`] has an anchor, [`FromSource::Whole`] was sent before
    /// the first transaction beyond it, or when the end was reached, whatever came first.
    Sent {
        /// The last of them.
        last: Tid,
        /// There was nothing more behind it.
        at_end: bool,
    },
    /// The answer to [`Action::ReadNext`]: there is nothing more yet.
    AtEnd,
    /// The answer to [`Action::ReadNext`]: what comes next was packed or rewound.
    Gone,
    /// The source's own history goes up to here now.
    Published(Standing),
    /// Those who follow the source follow these now.
    Route(Route),
    /// The source has packed up to this transaction.
    Packed(Tid),
    /// Time has passed.
    Tick,
}

/// How far the source itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its last transaction.
    pub last: Tid,
    /// The length of its log up to there.
    pub log_bytes: u64,
    /// Its wall clock, in microseconds since 1970.
    pub unix_micros: u64,
    /// How many upstreams lie between it and the primary.
    pub distance: u8,
}

/// What is to be done for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this to the sink.
    Send(FromSource),
    /// Find the last transaction at or before this one, and answer with [`Event::Looked`].
    Look(Tid),
    /// Transactions after this one will be read, as the log is now. Answer with [`Event::Exporting`]: the log's first
    /// whole place, or, for what is current, its last.
    Export {
        /// What of them.
        what: Flow,
        /// The last one that the sink has.
        after: Tid,
    },
    /// Read some transactions, send them with their blobs, and say so.
    ReadNext,
    /// The stream ends here.
    Close(String),
}

/// How long a sink may go without hearing how far the source is.
pub const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What is committed within this time of the last that was sent is sent together, unless somebody waits for it: a stream
/// costs a primary most by how often it sends.
pub const GATHER: Duration = Duration::from_millis(5);

/// The source of one stream.
#[derive(Debug)]
pub struct Source {
    own: Have,
    standing: Standing,
    route: Route,
    compression: Compression,
    state: State,
    told_at: Option<Instant>,
    sent_at: Option<Instant>,
    packed: Option<Tid>,
    /// Everything up to here is durable at the sink.
    durable: Tid,
    /// Everything up to here was sent.
    sent: Tid,
}

#[derive(Debug)]
enum State {
    /// The sink has not said what it has.
    Greeting,
    Planning {
        sink: Have,
        recovery: Recovery,
        recovering: Option<Tid>,
        known: Known,
    },
    /// The log is being made ready to be read.
    Opening {
        what: Flow,
        after: Tid,
        recovering: bool,
    },
    Flowing {
        reading: Reading,
    },
    Closed,
}

/// What comes of [`Action::ReadNext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Everything that there was has been read.
    Resting,
    /// There is no answer yet.
    Asked,
    /// The same, and something was published meanwhile: the answer may lack that.
    AskedBefore,
}

impl Source {
    /// Of a storage that has `own`. When its epochs change, or its last transaction goes back, the stream must end.
    /// Those who follow it follow `route`: it, and those that it follows.
    pub fn new(own: Have, standing: Standing, route: Route) -> Self {
        let (durable, sent) = (Tid::ZERO, Tid::ZERO);
        let (state, compression) = (State::Greeting, Compression::None);
        Self {
            own,
            standing,
            route,
            compression,
            state,
            told_at: None,
            sent_at: None,
            packed: None,
            durable,
            sent,
        }
    }

    /// Everything up to here is durable at the sink.
    pub fn durable(&self) -> Tid {
        self.durable
    }

    /// Everything up to here was sent.
    pub fn sent(&self) -> Tid {
        self.sent
    }

    /// Before this moment [`Event::Published`] can wait, where no client waits for the sink.
    pub fn gathers_until(&self) -> Option<Instant> {
        self.sent_at.map(|sent| sent + GATHER)
    }

    /// How what the sink is sent may be compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Transactions flow.
    pub fn is_flowing(&self) -> bool {
        matches!(self.state, State::Flowing { .. })
    }

    /// What to do about an event. Nothing, once the stream is closed.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if let State::Closed = self.state {
            return actions;
        }
        match event {
            Event::Received(message) => self.receive(message, &mut actions),
            Event::Looked(place) => self.learn(&mut actions, |known| known.looked = Some(place)),
            Event::Exporting(anchor) => self.flow(anchor, &mut actions),
            Event::Sent { last, at_end } => {
                assert!(last > self.sent, "transactions are sent in order");
                (self.sent, self.sent_at) = (last, Some(now));
                match at_end {
                    true => self.rest(now, &mut actions),
                    false => self.read_on(&mut actions),
                }
            }
            Event::AtEnd => self.rest(now, &mut actions),
            Event::Gone => {
                let reason = "what comes next was packed or rewound meanwhile; begin again";
                self.close(reason.to_owned(), &mut actions);
            }
            Event::Published(standing) => {
                assert!(standing.last >= self.standing.last, "a stream ends before its history goes back");
                let is_news = standing.last > self.standing.last;
                self.standing = standing;
                match &mut self.state {
                    State::Flowing { reading: Reading::Resting } if standing.last > self.sent => {
                        self.read_on(&mut actions);
                    }
                    State::Flowing { reading: reading @ Reading::Asked } if is_news => {
                        *reading = Reading::AskedBefore;
                    }
                    _ => {}
                }
            }
            Event::Route(route) => {
                self.route = route;
                if !matches!(self.state, State::Greeting) {
                    actions.push(Action::Send(FromSource::Route(self.route.clone())));
                }
            }
            Event::Packed(until) => {
                self.packed = self.packed.max(Some(until));
                match self.state {
                    // Nothing more is read of the log of before, so that its space is given back.
                    State::Flowing { reading: Reading::Resting } => self.read_on(&mut actions),
                    _ => self.pass_pack_on(&mut actions),
                }
            }
            Event::Tick => {
                let due = self.told_at.is_none_or(|told| now.saturating_duration_since(told) >= ALIVE_EVERY);
                if due && self.is_flowing() {
                    self.tell(now, &mut actions);
                    // In case that something was published without being told, or packed while it was read.
                    if let State::Flowing { reading: Reading::Resting } = self.state {
                        self.read_on(&mut actions);
                    }
                }
            }
        }
        actions
    }

    fn receive(&mut self, message: FromSink, actions: &mut Vec<Action>) {
        match (message, &self.state) {
            (FromSink::Have { have, recovery, compression, recovering }, State::Greeting) => {
                self.compression = compression;
                let known = Known::default();
                actions.push(Action::Send(FromSource::Route(self.route.clone())));
                self.state = State::Planning { sink: have, recovery, recovering, known };
                self.plan(actions);
            }
            (FromSink::Compared(checksum), State::Planning { known, .. })
                if known.looked.is_some() && known.compared.is_none() =>
            {
                self.learn(actions, |known| known.compared = Some(checksum));
            }
            (FromSink::Durable(tid), State::Flowing { .. }) if tid >= self.durable && tid <= self.sent => {
                self.durable = tid;
            }
            (FromSink::Failed(reason), _) => {
                self.state = State::Closed;
                actions.push(Action::Close(format!("the sink gave up: {reason}")));
            }
            (message, _) => self.close(format!("the sink says out of turn: {message:?}"), actions),
        }
    }

    fn learn(&mut self, actions: &mut Vec<Action>, learn: impl FnOnce(&mut Known)) {
        if let State::Planning { known, .. } = &mut self.state {
            learn(known);
            self.plan(actions);
        }
    }

    fn plan(&mut self, actions: &mut Vec<Action>) {
        let State::Planning { sink, recovery, recovering, known } = &self.state else { return };
        let is_recovering = recovering.is_some();
        match plan(&self.own, sink, *recovery, *recovering, *known) {
            Step::Look(tid) => actions.push(Action::Look(tid)),
            Step::Compare(tid) => actions.push(Action::Send(FromSource::Compare(tid))),
            Step::Stream(after) => self.open(Flow::All, after, is_recovering, actions),
            Step::Current(after) => self.open(Flow::Current, after, is_recovering, actions),
            Step::Rewind(fork) => {
                self.state = State::Greeting;
                actions.push(Action::Send(FromSource::Rewind { fork }));
            }
            Step::Recover => {
                self.state = State::Greeting;
                actions.push(Action::Send(FromSource::Recover));
            }
            Step::Wait(reason) => {
                self.state = State::Closed;
                actions.push(Action::Send(FromSource::Wait(reason.clone())));
                actions.push(Action::Close(reason));
            }
            Step::Refuse(reason) => self.close(reason, actions),
        }
    }

    fn open(&mut self, what: Flow, after: Tid, recovering: bool, actions: &mut Vec<Action>) {
        self.state = State::Opening { what, after, recovering };
        actions.push(Action::Export { what, after });
    }

    fn flow(&mut self, anchor: Place, actions: &mut Vec<Action>) {
        let State::Opening { what, after, recovering } = self.state else {
            panic!("nothing was to be exported");
        };
        let anchor = (after < anchor.tid || recovering).then_some(anchor);
        let what = if anchor.is_some() { what } else { Flow::All };
        let epochs = self.own.epochs.clone();
        self.state = State::Flowing { reading: Reading::Asked };
        (self.sent, self.durable) = (after, after);
        actions.push(Action::Send(FromSource::Stream { what, after, anchor, epochs }));
        actions.push(Action::ReadNext);
    }

    /// Reads what comes next.
    fn read_on(&mut self, actions: &mut Vec<Action>) {
        if let State::Flowing { reading } = &mut self.state {
            *reading = Reading::Asked;
            actions.push(Action::ReadNext);
        }
        self.pass_pack_on(actions);
    }

    /// Everything was sent that there was when it was read: tells how far that is. It is not read again at once because the
    /// last transaction is missing: after a pack, that need not be in the log.
    fn rest(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Flowing { reading: Reading::AskedBefore } if self.sent < self.standing.last => {
                self.read_on(actions);
            }
            State::Flowing { reading } => {
                *reading = Reading::Resting;
                self.pass_pack_on(actions);
                self.tell(now, actions);
            }
            _ => {}
        }
    }

    fn tell(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.told_at = Some(now);
        let Standing { last, log_bytes, unix_micros, distance } = self.standing;
        actions.push(Action::Send(FromSource::Alive { last, log_bytes, unix_micros, distance }));
    }

    /// The sink packs when it has everything that the pack was about.
    fn pass_pack_on(&mut self, actions: &mut Vec<Action>) {
        let passed = self.packed.filter(|until| self.sent >= *until && self.is_flowing());
        if let Some(until) = passed {
            self.packed = None;
            actions.push(Action::Send(FromSource::Packed { until }));
        }
    }

    fn close(&mut self, reason: String, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        actions.push(Action::Send(FromSource::Refused(reason.clone())));
        actions.push(Action::Close(reason));
    }
}
