//! What the frames of a record change.

use super::channel::{Channel, Phase};
use super::{Event, Message, Mux, ProtocolError};
use crate::peer::frame::{self, Frame, Role};
use crate::peer::limits::ChannelOptions;
use crate::world::Instant;

/// Frames that wait to be sent in answer to the peer's, beyond which it does not read.
const CONTROL_MAX: usize = 4096;

impl Mux {
    /// Takes in one record. After an error, the connection is to be closed with it as the reason.
    pub fn receive(&mut self, mut record: &[u8], now: Instant) -> Result<(), ProtocolError> {
        self.liveness.received(now);
        while !record.is_empty() {
            if self.peer_left.is_some() {
                return Err(ProtocolError::AfterGoodbye);
            }
            let frame = frame::split(&mut record)?;
            self.receive_frame(frame, now)?;
            if self.control.len() > CONTROL_MAX {
                return Err(ProtocolError::Unread);
            }
        }
        Ok(())
    }

    fn receive_frame(&mut self, frame: Frame<&[u8]>, now: Instant) -> Result<(), ProtocolError> {
        match frame {
            Frame::Open { channel, window_bytes, message_bytes_max, name } => {
                self.receive_open(channel, window_bytes, message_bytes_max, name)
            }
            Frame::Accept { channel: number, window_bytes, message_bytes_max } => {
                let Some(channel) = self.asking(number)? else { return Ok(()) };
                channel.set_peer(number, window_bytes, message_bytes_max)?;
                channel.phase = Phase::Open;
                self.events.push_back(Event::Accepted(number));
                Ok(())
            }
            Frame::Refuse { channel, reason } => {
                if self.asking(channel)?.is_some() {
                    self.channels.remove(&channel);
                    self.events.push_back(Event::Refused(channel, reason));
                }
                Ok(())
            }
            Frame::Message { channel: number, role, id, total, data } => {
                let pool = self.pool.clone();
                let Some(channel) = self.known(number)? else { return Ok(()) };
                let answer = channel.begin(number, (role, id, total), data, &pool)?;
                self.received_piece(number, answer);
                Ok(())
            }
            Frame::More { channel: number, data } => {
                let pool = self.pool.clone();
                let Some(channel) = self.known(number)? else { return Ok(()) };
                let answer = channel.go_on(number, data, &pool)?;
                self.received_piece(number, answer);
                Ok(())
            }
            Frame::Window { channel: number, bytes } => {
                let Some(channel) = self.known(number)? else { return Ok(()) };
                if channel.phase != Phase::Open {
                    return Err(ProtocolError::NotOpen(number));
                }
                channel.add_credit(number, bytes)?;
                self.take_turn(number);
                Ok(())
            }
            Frame::Finish { channel: number } => {
                let Some(channel) = self.known(number)? else { return Ok(()) };
                channel.peer_finish(number)?;
                self.events.push_back(Event::Readable(number));
                self.settle(number);
                Ok(())
            }
            Frame::Reset { channel, reason } => self.receive_reset(channel, reason),
            Frame::Ping { token } => {
                self.liveness.pinged(token);
                Ok(())
            }
            Frame::Pong { token } => self.liveness.ponged(token, now),
            Frame::Goodbye { reason } => {
                self.peer_left = Some(reason);
                Ok(())
            }
        }
    }

    fn receive_open(
        &mut self,
        number: u32,
        window_bytes: u32,
        message_bytes_max: u32,
        name: String,
    ) -> Result<(), ProtocolError> {
        if number % 2 == self.next_local % 2 || number <= self.last_remote {
            return Err(ProtocolError::WrongNumber(number));
        }
        self.last_remote = number;
        let mut channel = Channel::new(Phase::Asked, ChannelOptions::default());
        channel.set_peer(number, window_bytes, message_bytes_max)?;
        if self.channels.len() >= self.limits.channels_max {
            let reason = format!("there are {} channels already", self.channels.len());
            self.control.push_back(Frame::Refuse { channel: number, reason });
            return Ok(());
        }
        self.channels.insert(number, channel);
        self.events.push_back(Event::Opened(number, name));
        Ok(())
    }

    fn receive_reset(&mut self, number: u32, reason: String) -> Result<(), ProtocolError> {
        let Some(channel) = self.known(number)? else { return Ok(()) };
        if channel.peer_finished {
            // What it has sent before stays to be received.
            channel.stop();
            self.events.push_back(Event::Writable(number));
            self.settle(number);
        } else {
            self.channels.remove(&number);
            self.events.push_back(Event::Reset(number, reason));
        }
        Ok(())
    }

    /// Tells of a piece that was taken in.
    fn received_piece(&mut self, number: u32, answer: Option<Message>) {
        match answer {
            Some(Message { role, id, body }) => {
                let result = match role {
                    Role::Failure => Err(frame::cut(String::from_utf8_lossy(&body).into_owned())),
                    _ => Ok(body),
                };
                self.events.push_back(Event::Answered(number, id, result));
            }
            None if self.channels[&number].discards => self.drop_incoming(number),
            None => self.events.push_back(Event::Readable(number)),
        }
        self.settle(number);
    }

    /// The channel of a frame; none where it is over.
    fn known(&mut self, number: u32) -> Result<Option<&mut Channel>, ProtocolError> {
        let was_opened = match number % 2 == self.next_local % 2 {
            true => number < self.next_local,
            false => number <= self.last_remote,
        };
        if !was_opened {
            return Err(ProtocolError::UnknownChannel(number));
        }
        Ok(self.channels.get_mut(&number))
    }

    /// The channel that the peer answers; none where it is over.
    fn asking(&mut self, number: u32) -> Result<Option<&mut Channel>, ProtocolError> {
        if number % 2 != self.next_local % 2 {
            return Err(ProtocolError::NotAsked(number));
        }
        match self.known(number)? {
            Some(channel) if channel.phase != Phase::Asking => Err(ProtocolError::NotAsked(number)),
            other => Ok(other),
        }
    }
}
