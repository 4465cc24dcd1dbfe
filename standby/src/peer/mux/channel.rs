//! One channel: what it may send, what it may receive, and how far each has come.

use std::collections::VecDeque;

use super::{Message, ProtocolError, SendError};
use crate::peer::frame::{CHUNK_BYTES_MAX, Frame, Role};
use crate::peer::limits::{ChannelOptions, WINDOW_BYTES_MIN};
use crate::peer::pool::Pool;

/// What a message costs of the window besides its bytes, so that the window bounds empty messages too.
pub const MESSAGE_COST: u64 = 64;
/// Credit beyond which a peer cannot mean it, in bytes.
const CREDIT_MAX: u64 = 1 << 40;
/// No smaller piece of a message is sent, except its last.
const PIECE_BYTES_MIN: usize = 1024;
/// Memory set aside at once for a message whose first piece has come.
const SET_ASIDE_BYTES_MAX: usize = 1 << 20;

/// How far the agreement on a channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// We asked the peer.
    Asking,
    /// The peer asked us.
    Asked,
    /// Agreed.
    Open,
}

/// A message that is being sent.
struct Outgoing {
    message: Message,
    sent: usize,
}

/// A message that is being received.
struct Incoming {
    role: Role,
    id: u32,
    total: usize,
    data: Vec<u8>,
    /// What of it is not yet given back as credit.
    cost: u64,
}

/// The state of a channel.
pub struct Channel {
    pub phase: Phase,
    /// Something is queued and the channel waits for its turn.
    pub in_turn: bool,
    /// What comes is dropped.
    pub discards: bool,
    /// Nobody uses it any more.
    pub released: bool,
    pub peer_finished: bool,

    credit: u64,
    peer_message_bytes_max: u32,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    finishing: bool,
    finished: bool,
    /// The peer ended our direction after having finished its own.
    stopped: bool,

    options: ChannelOptions,
    /// What the peer may still send.
    allowance: u64,
    /// What can be given back to it.
    owed: u64,
    granting: bool,
    ready: VecDeque<(Message, u64)>,
    partial: Option<Incoming>,
}

impl Channel {
    pub fn new(phase: Phase, options: ChannelOptions) -> Self {
        Self {
            phase,
            in_turn: false,
            discards: false,
            released: false,
            peer_finished: false,
            credit: 0,
            peer_message_bytes_max: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            finishing: false,
            finished: false,
            stopped: false,
            options,
            allowance: u64::from(options.window()),
            owed: 0,
            granting: false,
            ready: VecDeque::new(),
            partial: None,
        }
    }

    /// What the peer said that it receives.
    pub fn set_peer(
        &mut self,
        number: u32,
        window_bytes: u32,
        message_bytes_max: u32,
    ) -> Result<(), ProtocolError> {
        if window_bytes < WINDOW_BYTES_MIN {
            return Err(ProtocolError::WrongWindow(number));
        }
        self.credit = u64::from(window_bytes);
        self.peer_message_bytes_max = message_bytes_max;
        Ok(())
    }

    /// Agrees, with what this side receives.
    pub fn accept(&mut self, options: ChannelOptions) {
        self.phase = Phase::Open;
        self.options = options;
        self.allowance = u64::from(options.window());
    }

    // Sending.

    /// What waits to be sent, in bytes, with what each message costs.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn queue(&mut self, message: Message, queue_bytes: usize) -> Result<(), SendError> {
        if self.phase != Phase::Open || self.finishing || self.stopped {
            return Err(SendError::NotOpen);
        }
        let bytes = message.body.len();
        if u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.peer_message_bytes_max) {
            // Senders wait for room; what may pass it are failures of requests that nobody took.
            if self.queued_bytes > 2 * queue_bytes + self.peer_message_bytes_max as usize {
                return Err(SendError::Full);
            }
            self.queued_bytes += bytes + MESSAGE_COST as usize;
            self.queue.push_back(Outgoing { message, sent: 0 });
            return Ok(());
        }
        Err(SendError::TooLarge { bytes, bytes_max: self.peer_message_bytes_max })
    }

    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether there is something to send that there is credit for.
    pub fn has_sendable(&self) -> bool {
        self.next_piece_bytes().is_some() || (self.queue.is_empty() && self.finishing && !self.finished)
    }

    /// How much of the first message can be sent now.
    pub fn next_piece_bytes(&self) -> Option<usize> {
        let Outgoing { message, sent } = self.queue.front()?;
        let cost = if *sent == 0 { MESSAGE_COST } else { 0 };
        let credit = usize::try_from(self.credit.checked_sub(cost)?).unwrap_or(usize::MAX);
        let left = message.body.len() - sent;
        let piece = left.min(credit).min(CHUNK_BYTES_MAX);
        (piece >= left.min(PIECE_BYTES_MIN)).then_some(piece)
    }

    /// Takes the next piece, of `bytes` as [`Channel::next_piece_bytes`] said.
    pub fn take_piece(&mut self, number: u32, bytes: usize) -> Frame {
        let outgoing = self.queue.front_mut().expect("there is a next piece");
        let Message { role, id, body } = &outgoing.message;
        let data = body.slice(outgoing.sent..outgoing.sent + bytes);
        let total = u32::try_from(body.len()).expect("checked when it was queued");
        let begins = outgoing.sent == 0;
        let frame = match begins {
            true => Frame::Message { channel: number, role: *role, id: *id, total, data },
            false => Frame::More { channel: number, data },
        };
        outgoing.sent += bytes;
        let cost = bytes as u64 + if begins { MESSAGE_COST } else { 0 };
        self.credit = self.credit.checked_sub(cost).expect("a piece fits the credit");
        self.queued_bytes -= bytes;
        if outgoing.sent == outgoing.message.body.len() {
            self.queued_bytes -= MESSAGE_COST as usize;
            self.queue.pop_front();
        }
        frame
    }

    /// Whether the announcement that nothing follows is due; it is then taken as made.
    pub fn take_finish(&mut self) -> bool {
        let due = self.queue.is_empty() && self.finishing && !self.finished;
        self.finished |= due;
        due
    }

    /// Whether it is announced that nothing follows.
    pub fn has_finished(&self) -> bool {
        self.finished
    }

    /// Whether everything is sent that was queued.
    pub fn is_flushed(&self) -> bool {
        self.phase != Phase::Open || self.queue.is_empty()
    }

    pub fn add_credit(&mut self, number: u32, bytes: u32) -> Result<(), ProtocolError> {
        self.credit += u64::from(bytes);
        if self.credit > CREDIT_MAX { Err(ProtocolError::WrongWindow(number)) } else { Ok(()) }
    }

    /// The peer, which has finished, wants nothing more either.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.finished = true;
        self.queue.clear();
        self.queued_bytes = 0;
    }

    // Receiving.

    /// Takes in the first piece of a message. An answer that is whole is returned instead of queued.
    pub fn begin(
        &mut self,
        number: u32,
        (role, id, total): (Role, u32, u32),
        data: &[u8],
        pool: &Pool,
    ) -> Result<Option<Message>, ProtocolError> {
        let cost = self.charge(number, data.len() as u64 + MESSAGE_COST)?;
        if total > self.options.message_bytes_max {
            let bytes_max = self.options.message_bytes_max;
            return Err(ProtocolError::MessageTooLarge { channel: number, bytes: total, bytes_max });
        }
        let total = total as usize;
        if self.partial.is_some() || data.len() > total || (data.is_empty() && total > 0) {
            return Err(ProtocolError::BrokenMessage(number));
        }
        let mut assembled = pool.take(total, SET_ASIDE_BYTES_MAX);
        assembled.extend_from_slice(data);
        if assembled.len() == total {
            return Ok(self.complete(Message { role, id, body: pool.share(assembled) }, cost));
        }
        self.partial = Some(Incoming { role, id, total, data: assembled, cost });
        self.give_back_partial();
        Ok(None)
    }

    /// Takes in a further piece.
    pub fn go_on(&mut self, number: u32, data: &[u8], pool: &Pool) -> Result<Option<Message>, ProtocolError> {
        let cost = self.charge(number, data.len() as u64)?;
        let mut partial = self.partial.take().ok_or(ProtocolError::BrokenMessage(number))?;
        partial.data.extend_from_slice(data);
        partial.cost += cost;
        if partial.data.len() > partial.total {
            return Err(ProtocolError::BrokenMessage(number));
        }
        if partial.data.len() < partial.total {
            self.partial = Some(partial);
            self.give_back_partial();
            return Ok(None);
        }
        let Incoming { role, id, data, cost, .. } = partial;
        Ok(self.complete(Message { role, id, body: pool.share(data) }, cost))
    }

    /// The peer sends nothing more.
    pub fn peer_finish(&mut self, number: u32) -> Result<(), ProtocolError> {
        if self.phase != Phase::Open || self.peer_finished {
            return Err(ProtocolError::NotOpen(number));
        }
        if self.partial.is_some() {
            return Err(ProtocolError::BrokenMessage(number));
        }
        self.peer_finished = true;
        Ok(())
    }

    /// The next message, whole.
    pub fn take(&mut self) -> Option<Message> {
        let (message, cost) = self.ready.pop_front()?;
        self.owed += cost;
        self.give_back_partial();
        Some(message)
    }

    /// Whether credit should be given back, which is then noted as under way.
    pub fn grant_is_due(&mut self) -> bool {
        let due = !self.granting && !self.peer_finished && self.owed * 4 >= u64::from(self.options.window());
        self.granting |= due;
        due
    }

    /// The credit that is given back now, in bytes.
    pub fn take_grant(&mut self) -> u32 {
        self.granting = false;
        let bytes = u32::try_from(self.owed).expect("no more is owed than the window");
        self.owed = 0;
        self.allowance += u64::from(bytes);
        bytes
    }

    /// Whether neither side says anything more and nothing is unread.
    pub fn is_over(&self) -> bool {
        self.finished && self.peer_finished && self.ready.is_empty()
    }

    fn charge(&mut self, number: u32, cost: u64) -> Result<u64, ProtocolError> {
        if self.phase != Phase::Open || self.peer_finished {
            return Err(ProtocolError::NotOpen(number));
        }
        self.allowance = self.allowance.checked_sub(cost).ok_or(ProtocolError::WindowExceeded(number))?;
        Ok(cost)
    }

    /// Queues a whole message, or returns it where it is an answer: somebody waits for it, so it takes no room.
    fn complete(&mut self, message: Message, cost: u64) -> Option<Message> {
        if matches!(message.role, Role::Answer | Role::Failure) {
            self.owed += cost;
            return Some(message);
        }
        self.ready.push_back((message, cost));
        None
    }

    /// Gives back the credit of a message that cannot be received before more of it has come, so that one larger than
    /// the window gets through; not of one that waits behind others.
    fn give_back_partial(&mut self) {
        if let Some(partial) = self.partial.as_mut().filter(|_| self.ready.is_empty()) {
            self.owed += std::mem::take(&mut partial.cost);
        }
    }

    /// What of the peer's is held in memory, in bytes, with what each message costs.
    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        let partial = self.partial.as_ref().map_or(0, |partial| partial.data.len() as u64);
        self.ready.iter().map(|(message, _)| message.body.len() as u64 + MESSAGE_COST).sum::<u64>() + partial
    }
}
