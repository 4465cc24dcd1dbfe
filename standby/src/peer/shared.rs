//! What the tasks and the handles of one connection share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use super::error::{CallError, ChannelError, Disconnected, OpenChannelError};
use super::frame::Piece;
use super::hello::Hello;
use super::mux::{Event, Message, Mux, ProtocolError, SendError};

use crate::world;
use crate::world::HashMap;

/// Where a request's answer goes.
pub type AnswerSender = oneshot::Sender<Result<Bytes, CallError>>;

/// The tasks that wait for something of a channel.
#[derive(Default)]
pub struct Waiters {
    /// For the one receiver, or the one that opens the channel.
    pub readable: Notify,
    /// For all who send.
    pub writable: Notify,
}

impl Waiters {
    fn wake(&self) {
        self.readable.notify_one();
        self.writable.notify_waiters();
    }
}

/// What the handles of a channel share beyond the machine's own state.
#[derive(Default)]
pub struct Entry {
    waiters: Arc<Waiters>,
    /// The peer's answer to our opening.
    opened: Option<Result<(), OpenChannelError>>,
    reset: Option<String>,
    calls: HashMap<u32, AnswerSender>,
    last_call: u32,
}

impl Entry {
    fn fail_calls(&mut self, error: &CallError) {
        for (_, sender) in self.calls.drain() {
            let _ = sender.send(Err(error.clone())); // who asked may be gone
        }
    }
}

/// What is behind the lock. Nothing waits while it is held.
pub struct State {
    pub mux: Mux,
    channels: HashMap<u32, Entry>,
    openings: VecDeque<(u32, String)>,
    end: Option<Disconnected>,
    /// Why this side closes.
    pub close_reason: String,
}

/// One connection.
pub struct Shared {
    state: Mutex<State>,
    /// There may be something to transmit.
    pub transmit: Notify,
    /// There may be an opening, or the end.
    pub opening: Notify,
    /// This side wants to close.
    pub closing: Notify,
    ended: watch::Sender<bool>,
    pub remote: Hello,
    pub address: String,
    pub version: u16,
}

impl Shared {
    pub fn new(mux: Mux, remote: Hello, address: String, version: u16) -> Self {
        let state = State {
            mux,
            channels: HashMap::default(),
            openings: VecDeque::new(),
            end: None,
            close_reason: String::new(),
        };
        Self {
            state: Mutex::new(state),
            transmit: Notify::new(),
            opening: Notify::new(),
            closing: Notify::new(),
            ended: watch::Sender::new(false),
            remote,
            address,
            version,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the state, and wakes whom it concerns.
    pub fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        self.tell(&mut state);
        if state.mux.has_record() {
            self.transmit.notify_one();
        }
        result
    }

    /// Fills `pieces` with the next record to send.
    pub fn next_record(&self, pieces: &mut Vec<Piece>) -> bool {
        let mut state = self.lock();
        let any = state.mux.next_record(pieces, world::runtime_now());
        self.tell(&mut state);
        any
    }

    /// Takes in a record. Some, where the peer has said goodbye: why.
    pub fn receive(&self, record: &[u8]) -> Result<Option<String>, ProtocolError> {
        self.with(|state| {
            state.mux.receive(record, world::runtime_now())?;
            Ok(state.mux.peer_left().map(str::to_owned))
        })
    }

    /// Ends the connection for all who use it; the first reason stays.
    pub fn end(&self, reason: Disconnected) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        for entry in state.channels.values_mut() {
            entry.fail_calls(&CallError::Disconnected(reason.clone()));
            entry.waiters.wake();
        }
        state.end = Some(reason);
        drop(state);
        self.opening.notify_one();
        self.ended.send_replace(true);
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Disconnected {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await; // its sender is here
        self.lock().end.clone().expect("the end was told")
    }

    /// Passes on what the machine has to tell.
    fn tell(&self, state: &mut State) {
        while let Some(event) = state.mux.next_event() {
            match event {
                Event::Opened(channel, name) => {
                    state.openings.push_back((channel, name));
                    self.opening.notify_one();
                }
                Event::Accepted(channel) => state.opened(channel, Ok(())),
                Event::Refused(channel, reason) => {
                    state.opened(channel, Err(OpenChannelError::Refused(reason)));
                }
                Event::Readable(channel) => state.readable(channel),
                Event::Writable(channel) => {
                    if let Some(entry) = state.channels.get(&channel) {
                        entry.waiters.writable.notify_waiters();
                    }
                }
                Event::Answered(channel, id, result) => {
                    let sender = state.channels.get_mut(&channel).and_then(|entry| entry.calls.remove(&id));
                    if let Some(sender) = sender {
                        let _ = sender.send(result.map_err(CallError::Failed)); // who asked may be gone
                    }
                }
                Event::Reset(channel, reason) => state.was_reset(channel, reason),
            }
        }
    }
}

impl State {
    /// Why the connection ended, if it did.
    pub fn end(&self) -> Option<Disconnected> {
        self.end.clone()
    }

    /// The next channel that the peer asks for.
    pub fn next_opening(&mut self) -> Option<(u32, String)> {
        self.openings.pop_front()
    }

    /// Begins to keep what belongs to a channel.
    pub fn enter(&mut self, number: u32) -> Arc<Waiters> {
        let entry = Entry::default();
        let waiters = entry.waiters.clone();
        self.channels.insert(number, entry);
        waiters
    }

    /// Nobody uses a channel any more.
    pub fn leave(&mut self, number: u32) {
        self.mux.release(number);
        self.channels.remove(&number);
    }

    /// The peer's answer to our opening, once it is there.
    pub fn take_opened(&mut self, number: u32) -> Option<Result<(), OpenChannelError>> {
        let opened = self.channels.get_mut(&number).and_then(|entry| entry.opened.take());
        opened.or_else(|| self.end().map(|end| Err(end.into())))
    }

    /// Queues a message, where there is room (else nothing happens).
    pub fn try_send(&mut self, number: u32, message: &Message) -> Option<Result<(), ChannelError>> {
        if let Some(error) = self.broken(number) {
            return Some(Err(error));
        }
        match self.mux.has_room(number) {
            true => Some(self.send_now(number, message.clone())),
            // A channel that is over has no room, either.
            false if self.mux.is_over(number) => Some(Err(ChannelError::Finished)),
            false => None,
        }
    }

    /// Queues a message without regard to whether there is room.
    pub fn send_now(&mut self, number: u32, message: Message) -> Result<(), ChannelError> {
        self.mux.send(number, message).map_err(|error| match error {
            SendError::TooLarge { bytes, bytes_max } => ChannelError::TooLarge { bytes, bytes_max },
            SendError::NotOpen => self.broken(number).unwrap_or(ChannelError::Finished),
            SendError::Full => {
                let reason = "too much is queued".to_owned();
                self.mux.reset(number, &reason);
                self.was_reset(number, reason.clone());
                ChannelError::Reset(reason)
            }
        })
    }

    /// The next message, or that none comes; nothing where one may come.
    pub fn try_receive(&mut self, number: u32) -> Option<Result<Option<Message>, ChannelError>> {
        if let Some(message) = self.mux.receive_message(number) {
            return Some(Ok(Some(message)));
        }
        let reset = self.channels.get(&number).and_then(|entry| entry.reset.clone());
        if let Some(reason) = reset {
            return Some(Err(ChannelError::Reset(reason)));
        }
        if self.mux.is_finished(number) {
            return Some(Ok(None));
        }
        self.end().map(|end| Err(end.into()))
    }

    /// Notes who waits for an answer, and gives its request a number.
    pub fn begin_call(&mut self, number: u32, sender: AnswerSender) -> Result<u32, ChannelError> {
        if let Some(error) = self.broken(number) {
            return Err(error);
        }
        if self.mux.is_finished(number) {
            return Err(ChannelError::Finished); // the answer could not be sent
        }
        let entry = self.channels.get_mut(&number).expect("the channel has a user");
        loop {
            entry.last_call = entry.last_call.wrapping_add(1);
            if !entry.calls.contains_key(&entry.last_call) {
                entry.calls.insert(entry.last_call, sender);
                return Ok(entry.last_call);
            }
        }
    }

    /// Nobody waits for an answer any more.
    pub fn forget_call(&mut self, number: u32, id: u32) {
        if let Some(entry) = self.channels.get_mut(&number) {
            entry.calls.remove(&id);
        }
    }

    /// Ends a channel with a reason, which its own users get as well.
    pub fn reset(&mut self, number: u32, reason: &str) {
        self.mux.reset(number, reason);
        self.was_reset(number, reason.to_owned());
    }

    fn broken(&self, number: u32) -> Option<ChannelError> {
        let reset = self.channels.get(&number).and_then(|entry| entry.reset.clone());
        reset.map(ChannelError::Reset).or_else(|| self.end().map(ChannelError::Disconnected))
    }

    fn opened(&mut self, number: u32, result: Result<(), OpenChannelError>) {
        if let Some(entry) = self.channels.get_mut(&number) {
            entry.opened = Some(result);
            entry.waiters.readable.notify_one();
        }
    }

    fn readable(&mut self, number: u32) {
        let finished = self.mux.is_finished(number);
        let Some(entry) = self.channels.get_mut(&number) else { return };
        if finished {
            entry.fail_calls(&CallError::Channel(ChannelError::Finished));
        }
        entry.waiters.readable.notify_one();
    }

    fn was_reset(&mut self, number: u32, reason: String) {
        self.openings.retain(|(opening, _)| *opening != number);
        let Some(entry) = self.channels.get_mut(&number) else { return };
        entry.fail_calls(&CallError::Channel(ChannelError::Reset(reason.clone())));
        entry.opened = Some(Err(OpenChannelError::Refused(reason.clone())));
        entry.reset = Some(reason);
        entry.waiters.wake();
    }
}
