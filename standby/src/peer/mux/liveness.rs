//! Pings, the round-trip time, and silence.

use std::time::Duration;

use super::{Mux, ProtocolError};
use crate::peer::frame::Frame;
use crate::world::Instant;

/// Nothing was received of the peer for so long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("nothing was received for {} s", .0.as_secs_f32())]
pub struct Silent(pub Duration);

/// Asks now and then whether the peer is there, and answers the same.
pub struct Liveness {
    interval: Duration,
    idle: Duration,
    last_received: Instant,
    next_ping: Instant,
    /// The ping that waits to be sent.
    ping_due: bool,
    /// The ping that waits for its answer.
    pinged: Option<(u64, Instant)>,
    last_token: u64,
    /// The peer's ping that waits for its answer; it sends one at a time.
    pong_due: Option<u64>,
    round_trip: Option<Duration>,
}

impl Liveness {
    pub fn new(interval: Duration, idle: Duration, now: Instant) -> Self {
        Self {
            interval,
            idle,
            last_received: now,
            next_ping: now,
            ping_due: false,
            pinged: None,
            last_token: 0,
            pong_due: None,
            round_trip: None,
        }
    }

    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    pub fn pinged(&mut self, token: u64) {
        self.pong_due = Some(token);
    }

    pub fn ponged(&mut self, token: u64, now: Instant) -> Result<(), ProtocolError> {
        let Some((_, since)) = self.pinged.take_if(|(expected, _)| *expected == token) else {
            return Err(ProtocolError::StrayPong);
        };
        let sample = now.saturating_duration_since(since);
        // As TCP smooths it (RFC 6298): an eighth of the new.
        self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
        Ok(())
    }

    pub fn has_frame(&self) -> bool {
        self.ping_due || self.pong_due.is_some()
    }

    /// The pong or ping that is due. The ping's time runs from here.
    pub fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        if let Some(token) = self.pong_due.take() {
            return Some(Frame::Pong { token });
        }
        if !std::mem::take(&mut self.ping_due) {
            return None;
        }
        self.last_token += 1;
        self.pinged = Some((self.last_token, now));
        Some(Frame::Ping { token: self.last_token })
    }

    fn tick(&mut self, now: Instant) -> Result<(), Silent> {
        if now >= self.last_received + self.idle {
            return Err(Silent(self.idle));
        }
        if now >= self.next_ping {
            self.next_ping = now + self.interval;
            self.ping_due |= self.pinged.is_none();
        }
        Ok(())
    }

    fn next_tick(&self) -> Instant {
        self.next_ping.min(self.last_received + self.idle)
    }
}

impl Mux {
    /// Tells the time, at [`Mux::next_tick`] or before.
    pub fn tick(&mut self, now: Instant) -> Result<(), Silent> {
        self.liveness.tick(now)
    }

    /// When [`Mux::tick`] is wanted next.
    pub fn next_tick(&self) -> Instant {
        self.liveness.next_tick()
    }

    /// The smoothed round-trip time of the connection's pings; none before the first answer.
    pub fn round_trip(&self) -> Option<Duration> {
        self.liveness.round_trip
    }
}
