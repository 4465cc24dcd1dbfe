//! Which frames the next record gets.

use super::{Event, Farewell, Mux};
use crate::peer::frame::{
    CHUNK_BYTES_MAX, Frame, HEADER_BYTES, MESSAGE_PREFIX_BYTES, Piece, RECORD_FRAMES_BYTES_MAX,
};
use crate::world::Instant;

/// A record under construction.
struct Record<'a> {
    pieces: &'a mut Vec<Piece>,
    room: usize,
}

impl Record<'_> {
    fn push(&mut self, frame: Frame) -> bool {
        let piece = Piece::from(frame);
        self.room -= piece.bytes();
        self.pieces.push(piece);
        true
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Mux {
    /// Whether there is anything to send.
    pub fn has_record(&self) -> bool {
        match self.farewell {
            Farewell::Said => false,
            Farewell::Now(_) => true,
            Farewell::Wanted(_) if self.is_flushed() => true,
            _ => {
                !self.control.is_empty()
                    || !self.grants.is_empty()
                    || !self.turns.is_empty()
                    || self.liveness.has_frame()
            }
        }
    }

    /// Fills `pieces`, which is empty, with the next record of at most [`RECORD_FRAMES_BYTES_MAX`] bytes. False where there
    /// is nothing to send.
    pub fn next_record(&mut self, pieces: &mut Vec<Piece>, now: Instant) -> bool {
        assert!(pieces.is_empty(), "a record begins empty");
        let mut record = Record { pieces, room: RECORD_FRAMES_BYTES_MAX };
        if self.has_said_goodbye() {
            return false;
        }
        if let Farewell::Now(reason) = &self.farewell {
            let reason = reason.clone();
            self.farewell = Farewell::Said;
            return record.push(Frame::Goodbye { reason });
        }
        if self.put_control(&mut record, now) {
            self.put_messages(&mut record);
        }
        if let Farewell::Wanted(reason) = &self.farewell
            && self.is_flushed()
            && record.room >= Piece::from(Frame::Goodbye { reason: reason.clone() }).bytes()
        {
            let reason = reason.clone();
            self.farewell = Farewell::Said;
            record.push(Frame::Goodbye { reason });
        }
        !record.is_empty()
    }

    /// Everything that goes before messages. False where not all of it fits.
    fn put_control(&mut self, record: &mut Record<'_>, now: Instant) -> bool {
        while let Some(frame) = self.liveness.next_frame(now) {
            record.push(frame);
        }
        while let Some(frame) = self.control.pop_front() {
            let bytes = Piece::from(frame.clone()).bytes();
            if bytes > record.room {
                self.control.push_front(frame);
                return false;
            }
            record.push(frame);
        }
        while record.room >= HEADER_BYTES + size_of::<u32>()
            && let Some(number) = self.grants.pop_front()
        {
            if let Some(channel) = self.channels.get_mut(&number) {
                let bytes = channel.take_grant();
                record.push(Frame::Window { channel: number, bytes });
            }
        }
        self.grants.is_empty()
    }

    /// Messages, a chunk of each channel in turn, until the next piece does not fit. (A piece is not made smaller to fill a
    /// record, since one that comes whole costs the least.)
    fn put_messages(&mut self, record: &mut Record<'_>) {
        while let Some(number) = self.turns.pop_front() {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            let queued_before = channel.queued_bytes();
            let mut turn_bytes = HEADER_BYTES + MESSAGE_PREFIX_BYTES + CHUNK_BYTES_MAX;
            let mut had_turn = false;
            let mut is_full = false;
            while let Some(bytes) = channel.next_piece_bytes() {
                let frame_bytes = HEADER_BYTES + MESSAGE_PREFIX_BYTES + bytes;
                is_full = frame_bytes > record.room;
                if is_full || frame_bytes > turn_bytes {
                    break;
                }
                turn_bytes -= frame_bytes;
                had_turn = true;
                record.push(channel.take_piece(number, bytes));
            }
            if record.room >= HEADER_BYTES && channel.take_finish() {
                record.push(Frame::Finish { channel: number });
                if channel.released && !channel.peer_finished {
                    self.channels.remove(&number);
                    let reason = "not wanted any more".to_owned();
                    self.control.push_back(Frame::Reset { channel: number, reason });
                    continue;
                }
            }
            let low = self.limits.send_queue_bytes / 2; // so that senders come in batches
            if queued_before > low && channel.queued_bytes() <= low {
                self.events.push_back(Event::Writable(number));
            }
            let waits = channel.has_sendable();
            channel.in_turn = waits;
            match (waits, had_turn) {
                (true, true) => self.turns.push_back(number),
                (true, false) => self.turns.push_front(number),
                (false, _) => self.settle(number),
            }
            if is_full || record.room < HEADER_BYTES {
                return;
            }
        }
    }

    fn is_flushed(&self) -> bool {
        self.control.is_empty() && self.channels.values().all(|channel| channel.is_flushed())
    }
}
