//! Many channels over one connection, as a state machine: records and the time in, records and events out.
//!
//! | file | what |
//! |---|---|
//! | `channel` | one channel: credit, queues, the message being put together |
//! | `receive` | what the frames of a record change |
//! | `transmit` | which frames the next record gets |
//! | `liveness` | pings, round-trip time, silence |
//!
//! The numbers of the dialer's channels are odd, the listener's even; each side's rise and are never used again. A frame
//! for a channel that is over is ignored, since it may have been sent before its sender knew.

mod channel;
mod liveness;
mod receive;
mod transmit;

#[cfg(test)]
mod hostile_test;
#[cfg(test)]
mod mux_test;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::frame::{Frame, FrameError, NAME_BYTES_MAX, Role};
use super::limits::{ChannelOptions, PeerLimits};
use super::pool::Pool;
use channel::{Channel, Phase};
use liveness::Liveness;

use crate::world::Instant;

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Made the connection.
    Dialer,
    /// Accepted it.
    Listener,
}

/// A message, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is to the layer of requests.
    pub role: Role,
    /// The request's id; 0 for a plain message.
    pub id: u32,
    /// Its content.
    pub body: Bytes,
}

impl Message {
    /// A message that is neither request nor answer.
    pub fn plain(body: Bytes) -> Self {
        Self { role: Role::Plain, id: 0, body }
    }
}

/// What the user of the machine is told; the first field is the channel's number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The peer asks for a channel of this name; it is to be accepted or refused.
    Opened(u32, String),
    /// The peer agreed to our channel.
    Accepted(u32),
    /// The peer declined our channel, which is over, with a reason.
    Refused(u32, String),
    /// There may be something to receive, or nothing more to come.
    Readable(u32),
    /// There may be room to send.
    Writable(u32),
    /// The request of ours that has this id is answered, or failed with a reason.
    Answered(u32, u32, Result<Bytes, String>),
    /// The channel was ended, with a reason.
    Reset(u32, String),
}

/// The peer broke the protocol: the connection must end. Nothing of the record that broke it may be relied on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A record is not made of frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame for a channel that was never opened.
    #[error("a frame for channel {0}, which was never opened")]
    UnknownChannel(u32),
    /// A channel number that was used, or is not the sender's to give.
    #[error("channel {0} cannot be opened again or by this side")]
    WrongNumber(u32),
    /// An answer to an opening that was answered.
    #[error("channel {0} was answered twice, or before it was asked for")]
    NotAsked(u32),
    /// Data before agreement, or after the end was announced.
    #[error("data on channel {0}, which takes none")]
    NotOpen(u32),
    /// More than the credit allows.
    #[error("more on channel {0} than its window allows")]
    WindowExceeded(u32),
    /// Credit beyond any reason, or a window that is too small.
    #[error("a window of channel {0} is too large or too small")]
    WrongWindow(u32),
    /// A message larger than this side receives.
    #[error("a message of {bytes} bytes on channel {channel}, where {bytes_max} are allowed")]
    MessageTooLarge {
        /// The channel's number.
        channel: u32,
        /// The message's length.
        bytes: u32,
        /// The longest allowed.
        bytes_max: u32,
    },
    /// Pieces of a message that do not make a message.
    #[error("the pieces of a message on channel {0} do not fit together")]
    BrokenMessage(u32),
    /// A pong to no ping.
    #[error("a pong without its ping")]
    StrayPong,
    /// A peer that asks on and on and takes none of the answers.
    #[error("the peer does not read what it asks for")]
    Unread,
    /// A frame after the goodbye.
    #[error("a frame after the goodbye")]
    AfterGoodbye,
}

/// Why something cannot be sent. Nothing was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The message is larger than the peer receives on this channel.
    #[error("the message has {bytes} bytes, and the peer takes {bytes_max} at most")]
    TooLarge {
        /// The message's length.
        bytes: usize,
        /// The longest that the peer receives on this channel.
        bytes_max: u32,
    },
    /// The channel is finished, reset, or not agreed to.
    #[error("the channel is not open for sending")]
    NotOpen,
    /// Far more is queued than fits.
    #[error("too much is queued on the channel")]
    Full,
}

/// Why no channel can be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The bound is reached.
    #[error("there are {0} channels already")]
    TooMany(usize),
    /// A name of no or too many bytes.
    #[error("a channel's name has 1 to {NAME_BYTES_MAX} bytes")]
    BadName,
    /// The connection is closing.
    #[error("the connection is closing")]
    Closing,
}

/// Where a connection is with saying goodbye.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Farewell {
    None,
    /// Once everything that is queued is sent.
    Wanted(String),
    /// Before anything else that is queued.
    Now(String),
    Said,
}

/// One end of a connection.
pub struct Mux {
    limits: PeerLimits,
    pool: Pool,
    next_local: u32,
    last_remote: u32,
    channels: BTreeMap<u32, Channel>,
    /// Frames that go before any message.
    control: VecDeque<Frame>,
    /// Channels that owe the peer credit.
    grants: VecDeque<u32>,
    /// Channels with something to send, the next in turn first.
    turns: VecDeque<u32>,
    events: VecDeque<Event>,
    liveness: Liveness,
    farewell: Farewell,
    /// The reason of the peer's goodbye.
    peer_left: Option<String>,
}

impl Mux {
    /// A connection whose handshake is done.
    pub fn new(side: Side, limits: PeerLimits, now: Instant) -> Self {
        let (next_local, last_remote) = match side {
            Side::Dialer => (1, 0),
            Side::Listener => (2, 0),
        };
        Self {
            liveness: Liveness::new(limits.ping_interval, limits.idle, now),
            limits,
            pool: Pool::default(),
            next_local,
            last_remote,
            channels: BTreeMap::new(),
            control: VecDeque::new(),
            grants: VecDeque::new(),
            turns: VecDeque::new(),
            events: VecDeque::new(),
            farewell: Farewell::None,
            peer_left: None,
        }
    }

    /// What happened, oldest first. To be drained after every call that changes something.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Asks the peer for a channel. [`Event::Accepted`] or [`Event::Refused`] follows.
    pub fn open(&mut self, name: &str, options: ChannelOptions) -> Result<u32, OpenError> {
        if self.farewell != Farewell::None || self.peer_left.is_some() {
            return Err(OpenError::Closing);
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(OpenError::BadName);
        }
        if self.channels.len() >= self.limits.channels_max {
            return Err(OpenError::TooMany(self.channels.len()));
        }
        let number = self.next_local;
        self.next_local = number.checked_add(2).ok_or(OpenError::Closing)?; // after two thousand million channels
        self.channels.insert(number, Channel::new(Phase::Asking, options));
        self.control.push_back(Frame::Open {
            channel: number,
            window_bytes: options.window(),
            message_bytes_max: options.message_bytes_max,
            name: name.to_owned(),
        });
        Ok(number)
    }

    /// Agrees to a channel that the peer asked for. False where it is over already.
    pub fn accept(&mut self, number: u32, options: ChannelOptions) -> bool {
        let Some(channel) = self.channels.get_mut(&number).filter(|channel| channel.phase == Phase::Asked)
        else {
            return false;
        };
        channel.accept(options);
        self.control.push_back(Frame::Accept {
            channel: number,
            window_bytes: options.window(),
            message_bytes_max: options.message_bytes_max,
        });
        true
    }

    /// Declines a channel that the peer asked for.
    pub fn refuse(&mut self, number: u32, reason: &str) {
        if self.channels.get(&number).is_some_and(|channel| channel.phase == Phase::Asked) {
            self.channels.remove(&number);
            self.control.push_back(Frame::Refuse { channel: number, reason: reason.to_owned() });
        }
    }

    /// Whether a channel's queue has room, as it should before [`Mux::send`].
    pub fn has_room(&self, number: u32) -> bool {
        self.channels
            .get(&number)
            .is_some_and(|channel| channel.queued_bytes() < self.limits.send_queue_bytes)
    }

    /// Queues a message.
    pub fn send(&mut self, number: u32, message: Message) -> Result<(), SendError> {
        if self.farewell != Farewell::None {
            return Err(SendError::NotOpen);
        }
        let channel = self.channels.get_mut(&number).ok_or(SendError::NotOpen)?;
        channel.queue(message, self.limits.send_queue_bytes)?;
        self.take_turn(number);
        Ok(())
    }

    /// The next message of a channel, requests included, answers not.
    pub fn receive_message(&mut self, number: u32) -> Option<Message> {
        let channel = self.channels.get_mut(&number)?;
        let message = channel.take();
        self.settle(number);
        message
    }

    /// Whether nothing more comes on a channel, once what is queued is received.
    pub fn is_finished(&self, number: u32) -> bool {
        self.channels.get(&number).is_none_or(|channel| channel.peer_finished)
    }

    /// Whether a channel is over in both directions, or was never there.
    pub fn is_over(&self, number: u32) -> bool {
        !self.channels.contains_key(&number)
    }

    /// Announces that nothing follows what is queued on a channel.
    pub fn finish(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(&number).filter(|channel| channel.phase == Phase::Open) {
            channel.finish();
            self.take_turn(number);
        }
    }

    /// Ends a channel in both directions at once; what is queued is dropped.
    pub fn reset(&mut self, number: u32, reason: &str) {
        match self.channels.get(&number).map(|channel| channel.phase) {
            None => {}
            Some(Phase::Asked) => self.refuse(number, reason),
            Some(Phase::Asking | Phase::Open) => {
                self.channels.remove(&number);
                self.control.push_back(Frame::Reset { channel: number, reason: reason.to_owned() });
            }
        }
    }

    /// From now on, what comes on a channel is dropped, and a request fails.
    pub fn discard(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.discards = true;
            self.drop_incoming(number);
        }
    }

    /// Nobody uses a channel any more: what is queued is sent, what comes is not wanted.
    pub fn release(&mut self, number: u32) {
        match self.channels.get_mut(&number) {
            None => {}
            Some(channel) if channel.phase == Phase::Open && !channel.has_finished() => {
                channel.released = true;
                self.discard(number);
                self.finish(number);
            }
            Some(channel) if channel.peer_finished => self.discard(number),
            Some(_) => self.reset(number, "not wanted any more"),
        }
    }

    /// Ends the connection, once what is queued is sent. Nothing can be opened or sent any more.
    pub fn close(&mut self, reason: &str) {
        if self.farewell == Farewell::None {
            self.farewell = Farewell::Wanted(reason.to_owned());
        }
    }

    /// Ends the connection without regard to what is queued.
    pub fn close_now(&mut self, reason: &str) {
        match &self.farewell {
            Farewell::None => self.farewell = Farewell::Now(reason.to_owned()),
            Farewell::Wanted(earlier) => self.farewell = Farewell::Now(earlier.clone()),
            Farewell::Now(_) | Farewell::Said => {}
        }
    }

    /// Whether the goodbye is sent: no record follows.
    pub fn has_said_goodbye(&self) -> bool {
        self.farewell == Farewell::Said
    }

    /// Why the peer has said goodbye, if it has.
    pub fn peer_left(&self) -> Option<&str> {
        self.peer_left.as_deref()
    }

    /// Puts a channel in the row of those that have something to send.
    fn take_turn(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(&number)
            && !channel.in_turn
            && channel.has_sendable()
        {
            channel.in_turn = true;
            self.turns.push_back(number);
        }
    }

    /// Notes credit that has become due, and a channel that is over.
    fn settle(&mut self, number: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        if channel.is_over() {
            self.channels.remove(&number);
        } else if channel.grant_is_due() {
            self.grants.push_back(number);
        }
    }

    /// Empties the queue of a channel whose messages nobody wants.
    fn drop_incoming(&mut self, number: u32) {
        while let Some(message) = self.receive_message(number) {
            if message.role != Role::Request {
                continue;
            }
            let failure = Message { role: Role::Failure, id: message.id, body: "nobody answers here".into() };
            if self.send(number, failure) == Err(SendError::Full) {
                self.reset(number, "too many requests, where nobody answers");
                self.events.push_back(Event::Reset(number, "too many requests".to_owned()));
            }
        }
    }
}
