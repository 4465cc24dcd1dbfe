//! Runs: messages of a source that travel together, compressed, where the sink asked for it. Byte table in
//! `docs/replication.md`.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use zstd::bulk::{Compressor, Decompressor};

use crate::peer::{ChannelError, ChannelReceiver, Incoming};

/// What a run holds at most, in bytes before compression; a longer message travels alone, as it is.
pub const RUN_BYTES_MAX: usize = 4 << 20;
/// The first byte of a run.
const KIND: u8 = 0x8d;
/// Bytes before the compressed ones: kind and plain length.
const HEADER: usize = 5;
/// Bytes before each message of a run: its length.
const LENGTH: usize = 4;
/// A compression level at which loopback is the limit no more, but any longer distance is.
const LEVEL: i32 = 3;

/// How what a source says is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By zstd (RFC 8878).
    Zstd,
}

/// A run that cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run of messages cannot be unpacked: {0}")]
pub struct BadRun(&'static str);

/// Why nothing more comes out of an [`Inbox`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// The channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// What came.
    #[error(transparent)]
    Run(#[from] BadRun),
}

/// Makes runs of messages.
pub struct Packer {
    compressor: Compressor<'static>,
    plain: Vec<u8>,
}

impl Packer {
    /// Allocates about a megabyte.
    pub fn new() -> io::Result<Self> {
        Ok(Self { compressor: Compressor::new(LEVEL)?, plain: Vec::new() })
    }

    /// A run of these messages; `None` where that would not be shorter, or they are more than a run holds.
    pub fn pack(&mut self, messages: &[Bytes]) -> Option<Bytes> {
        let plain_bytes = messages.iter().map(|message| LENGTH + message.len()).sum::<usize>();
        if plain_bytes > RUN_BYTES_MAX {
            return None;
        }
        self.plain.clear();
        for message in messages {
            self.plain.put_u32(message.len() as u32);
            self.plain.put_slice(message);
        }
        let mut run = vec![0; HEADER + plain_bytes];
        // Where it would not get shorter, the room is not enough for it.
        let compressed = self.compressor.compress_to_buffer(&self.plain, &mut run[HEADER..]).ok()?;
        if compressed + HEADER >= plain_bytes {
            return None;
        }
        run.truncate(HEADER + compressed);
        (&mut run[..HEADER]).put_u8(KIND);
        (&mut run[1..HEADER]).put_u32(plain_bytes as u32);
        Some(run.into())
    }

    /// Makes runs of what follows each other, as long as they may be, and leaves the rest as it is.
    pub fn pack_all(&mut self, messages: Vec<Bytes>) -> Vec<Bytes> {
        let (mut packed, mut run, mut run_bytes) = (Vec::new(), Vec::new(), 0);
        for message in messages {
            let bytes = LENGTH + message.len();
            if run_bytes + bytes > RUN_BYTES_MAX {
                self.flush(&mut run, &mut packed);
                run_bytes = 0;
            }
            run_bytes += bytes;
            run.push(message);
        }
        self.flush(&mut run, &mut packed);
        packed
    }

    fn flush(&mut self, run: &mut Vec<Bytes>, packed: &mut Vec<Bytes>) {
        match self.pack(run) {
            Some(whole) => {
                packed.push(whole);
                run.clear();
            }
            None => packed.append(run),
        }
    }
}

/// Takes runs apart.
struct Unpacker(Decompressor<'static>);

impl Unpacker {
    /// The messages of a run. Never allocates more than [`RUN_BYTES_MAX`] for it, whatever it says.
    fn unpack(&mut self, mut run: Bytes) -> Result<VecDeque<Bytes>, BadRun> {
        if run.len() < HEADER {
            return Err(BadRun("it is too short"));
        }
        run.advance(1);
        let plain_bytes = run.get_u32() as usize;
        if plain_bytes > RUN_BYTES_MAX {
            return Err(BadRun("it is too long"));
        }
        let mut plain = BytesMut::zeroed(plain_bytes);
        match self.0.decompress_to_buffer(&run, &mut plain[..]) {
            Ok(bytes) if bytes == plain_bytes => {}
            Ok(_) => return Err(BadRun("it is shorter than it says")),
            Err(_) => return Err(BadRun("it is damaged, or longer than it says")),
        }
        let (mut plain, mut messages) = (plain.freeze(), VecDeque::new());
        while plain.has_remaining() {
            let length = plain.try_get_u32().map_err(|_| BadRun("a length is cut off"))? as usize;
            if length > plain.len() {
                return Err(BadRun("a message is cut off"));
            }
            messages.push_back(plain.split_to(length));
        }
        Ok(messages)
    }
}

/// What comes from a source, message by message.
pub struct Inbox {
    receiver: ChannelReceiver,
    /// `None`: runs were not asked for.
    unpacker: Option<Unpacker>,
    unpacked: VecDeque<Bytes>,
}

impl Inbox {
    /// Of this channel, on which such compression was asked for.
    pub fn new(receiver: ChannelReceiver, compression: Compression) -> Self {
        let unpacker = (compression == Compression::Zstd)
            .then(|| Unpacker(Decompressor::new().expect("a decompressor needs nothing but memory")));
        Self { receiver, unpacker, unpacked: VecDeque::new() }
    }

    /// As [`ChannelReceiver::recv`]; can be dropped without loss.
    pub async fn recv(&mut self) -> Result<Option<Incoming>, InboxError> {
        loop {
            if let Some(message) = self.unpacked.pop_front() {
                return Ok(Some(Incoming::Message(message)));
            }
            match (self.receiver.recv().await?, &mut self.unpacker) {
                // A few milliseconds at most.
                (Some(Incoming::Message(run)), Some(unpacker)) if run.first() == Some(&KIND) => {
                    self.unpacked = unpacker.unpack(run)?;
                }
                (received, _) => return Ok(received),
            }
        }
    }
}

#[cfg(test)]
#[path = "run_test.rs"]
mod tests;
