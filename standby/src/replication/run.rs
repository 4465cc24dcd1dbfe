//! Runs: messages of a source that travel together, so that each costs little; compressed, where the sink asked for
//! it. Byte table in `docs/replication.md`.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use zstd::bulk::{Compressor, Decompressor};

use crate::peer::{ChannelError, ChannelReceiver, Incoming};

/// What a compressed run holds at most, in bytes before compression; a longer message travels alone, as it is.
pub const RUN_BYTES_MAX: usize = 4 << 20;
/// A run is closed before it gets longer than this, in bytes: what one frame of a connection holds.
const PLAIN_BYTES: usize = 64_000;
/// The same before compression, which gains by more.
const COMPRESSED_BYTES: usize = 1 << 20;
/// The first byte of a run that is compressed, and of one that is not.
const KIND: u8 = 0x8d;
const KIND_PLAIN: u8 = 0x8e;
/// Bytes before the compressed ones: kind and plain length.
const HEADER: usize = 5;
/// Bytes before the messages of a run that is not compressed: kind.
const HEADER_PLAIN: usize = 1;
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

/// Makes runs of messages. What is ready to be sent is left to the caller with each call.
pub struct Packer {
    /// `None`: nothing is compressed.
    compressor: Option<Compressor<'static>>,
    /// A run that is not compressed, under construction.
    run: Vec<u8>,
    /// Messages in it.
    count: usize,
    /// Where the last of them begins, with its length.
    last: usize,
}

impl Packer {
    /// Compresses so. With compression, allocates about a megabyte.
    pub fn new(compression: Compression) -> io::Result<Self> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd => Some(Compressor::new(LEVEL)?),
        };
        Ok(Self { compressor, run: Vec::new(), count: 0, last: 0 })
    }

    /// Begins a message, which is to be appended to this buffer.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        if self.count == 0 {
            // A run grows beyond its bound by a message before it is closed.
            self.run.clear();
            self.run.reserve(self.bytes_max() * 3 / 2);
            self.run.push(KIND_PLAIN);
        }
        self.last = self.run.len();
        self.run.put_bytes(0, LENGTH);
        &mut self.run
    }

    /// There is no message after all.
    pub fn take_back(&mut self) {
        self.run.truncate(self.last);
    }

    /// The message is whole. `ready` gets what is to be sent now.
    pub fn end(&mut self, ready: &mut Vec<Bytes>) {
        self.seal();
        if self.run.len() <= self.bytes_max() {
            return;
        }
        let last = self.split_last(ready);
        if last.len() < self.bytes_max() / 2 {
            self.push(&last[LENGTH..], ready); // begins the next run
        } else {
            ready.push(self.form(last.clone(), last.slice(LENGTH..)));
        }
    }

    /// The message is whole, and something else is to be sent before it: `ready` gets what goes before that. Returns the
    /// message in the form in which it travels.
    pub fn end_apart(&mut self, ready: &mut Vec<Bytes>) -> Bytes {
        self.seal();
        let last = self.split_last(ready);
        self.form(last.clone(), last.slice(LENGTH..))
    }

    /// Adds a message.
    pub fn push(&mut self, message: &[u8], ready: &mut Vec<Bytes>) {
        self.begin().extend_from_slice(message);
        self.end(ready);
    }

    /// Closes the run, whatever its length.
    pub fn flush(&mut self, ready: &mut Vec<Bytes>) {
        if self.count > 0 {
            let run = std::mem::take(&mut self.run).into();
            self.close(run, self.count, ready);
        }
    }

    fn bytes_max(&self) -> usize {
        if self.compressor.is_some() { COMPRESSED_BYTES } else { PLAIN_BYTES }
    }

    /// Notes the length of the last message.
    fn seal(&mut self) {
        self.count += 1;
        let length = self.run.len() - self.last - LENGTH;
        let length = u32::try_from(length).expect("a message is shorter than 4 GiB");
        (&mut self.run[self.last..]).put_u32(length);
    }

    /// Closes the run before its last message, and returns that, after its length.
    fn split_last(&mut self, ready: &mut Vec<Bytes>) -> Bytes {
        let run = Bytes::from(std::mem::take(&mut self.run));
        self.close(run.slice(..self.last), self.count - 1, ready);
        run.slice(self.last..)
    }

    /// Adds a run of so many messages to what is ready, in the form in which it travels.
    fn close(&mut self, run: Bytes, count: usize, ready: &mut Vec<Bytes>) {
        self.count = 0;
        match count {
            0 => {}
            1 => ready.push(self.form(run.slice(HEADER_PLAIN..), run.slice(HEADER_PLAIN + LENGTH..))),
            _ => ready.push(self.form(run.slice(HEADER_PLAIN..), run)),
        }
    }

    /// Messages compressed, or else in their other form.
    fn form(&mut self, messages: Bytes, other: Bytes) -> Bytes {
        self.compressed(&messages).unwrap_or(other)
    }

    /// These messages compressed; `None` where that would not be shorter, or they are more than a run holds.
    fn compressed(&mut self, plain: &[u8]) -> Option<Bytes> {
        let compressor = self.compressor.as_mut().filter(|_| plain.len() <= RUN_BYTES_MAX)?;
        let mut run = vec![0; HEADER + plain.len()];
        // Where it would not get shorter, the room is not enough for it.
        let compressed = compressor.compress_to_buffer(plain, &mut run[HEADER..]).ok()?;
        if compressed + HEADER >= plain.len() {
            return None;
        }
        run.truncate(HEADER + compressed);
        (&mut run[..HEADER]).put_u8(KIND);
        (&mut run[1..HEADER]).put_u32(plain.len() as u32);
        Some(run.into())
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
        split(plain.freeze())
    }
}

/// The messages of a run, which are not compressed any more and stay where they are.
fn split(mut plain: Bytes) -> Result<VecDeque<Bytes>, BadRun> {
    let mut messages = VecDeque::new();
    while plain.has_remaining() {
        let length = plain.try_get_u32().map_err(|_| BadRun("a length is cut off"))? as usize;
        if length > plain.len() {
            return Err(BadRun("a message is cut off"));
        }
        messages.push_back(plain.split_to(length));
    }
    Ok(messages)
}

/// What comes from a source, message by message.
pub struct Inbox {
    receiver: ChannelReceiver,
    /// `None`: compressed runs were not asked for.
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
                (Some(Incoming::Message(mut run)), _) if run.first() == Some(&KIND_PLAIN) => {
                    run.advance(HEADER_PLAIN);
                    self.unpacked = split(run)?;
                }
                (received, _) => return Ok(received),
            }
        }
    }
}

#[cfg(test)]
#[path = "run_test.rs"]
mod tests;
