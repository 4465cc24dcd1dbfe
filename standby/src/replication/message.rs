//! What source and sink say to each other about one storage. Byte table in `docs/replication.md`.
//!
//! Numbers are big-endian. The first byte of a message is its kind. The connection below keeps messages whole, in
//! order and unaltered; what arrives here is still believed only as far as it can be decoded.

use bytes::{Buf, BufMut, Bytes};
use replica::{Checksum, Epoch, Epochs, Place};
use zeo_proto::{Oid, Tid};

use super::route::{Route, UPSTREAMS_MAX};
use super::run::Compression;

/// Length of the greatest part of a blob in one message, in bytes.
pub const BLOB_PART_BYTES_MAX: usize = 256 << 10;
/// Length of the longest reason, in bytes; more is cut off.
const REASON_BYTES_MAX: usize = 1000;
/// Most epochs in one message.
const EPOCHS_MAX: usize = 10_000;

/// How a sink wants to get a history that it cannot take up where it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recovery {
    /// Every transaction.
    Full,
    /// The current revision of every object.
    Fast,
}

/// What flows in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Transactions as the source has them.
    All,
    /// Up to the anchor only those records that are current; then transactions as the source has them.
    Current,
}

/// What a copy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// The reigns that wrote it.
    pub epochs: Epochs,
    /// From here on every transaction is whole, and its checksum comparable.
    pub first: Place,
    /// Its end.
    pub last: Place,
}

impl Have {
    /// It has no transaction.
    pub fn is_empty(&self) -> bool {
        self.last.tid == Tid::ZERO
    }
}

/// What a sink says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSink {
    /// At the beginning, and after each rewind: what the sink has.
    Have {
        /// It.
        have: Have,
        /// How it wants to recover, if it must.
        recovery: Recovery,
        /// How the source may compress what it says.
        compression: Compression,
        /// It is in the middle of a fast recovery up to this transaction.
        recovering: Option<Tid>,
    },
    /// The answer to [`FromSource::Compare`]: the sink's place at that transaction, `None` where it has none.
    Compared(Option<Checksum>),
    /// Everything up to this transaction is durable.
    Durable(Tid),
    /// The sink gives up, for this reason.
    Failed(String),
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSource {
    /// What is your checksum at this transaction?
    Compare(Tid),
    /// The transactions after `after` begin to flow.
    Stream {
        /// All of each of them, or only what is current.
        what: Flow,
        /// The last one that the sink has.
        after: Tid,
        /// Up to here transactions may have holes; [`FromSource::Whole`] says when that is reached. It need not be the
        /// place of a transaction: a pack may have removed it. `None`: all that comes is whole.
        anchor: Option<Place>,
        /// The source's epochs, to be taken over.
        epochs: Epochs,
    },
    /// Drop everything after `fork`, and say again what you have.
    Rewind {
        /// The last common transaction.
        fork: Tid,
    },
    /// Begin anew: set aside what you have, and say again what you have.
    Recover,
    /// What came stands for everything up to the anchor: the running checksum here is the anchor's.
    Whole,
    /// Part of a blob of a transaction that comes next.
    Blob {
        /// Its object.
        oid: Oid,
        /// It is whole with this part.
        last: bool,
        /// The part.
        data: Bytes,
    },
    /// A transaction.
    Transaction {
        /// Its tid.
        tid: Tid,
        /// The running checksum after it.
        checksum: Checksum,
        /// In its portable form.
        portable: Bytes,
    },
    /// The source has packed up to this transaction.
    Packed {
        /// The pack time.
        until: Tid,
    },
    /// How far the source is: now and then, and whenever the sink has caught up with it.
    Alive {
        /// Its last transaction.
        last: Tid,
        /// The length of its log up to there.
        log_bytes: u64,
        /// Its wall clock, in microseconds since 1970.
        unix_micros: u64,
        /// How many upstreams lie between it and the primary: 0 for the primary.
        distance: u8,
    },
    /// Whom the sink follows: the source, and those that the source follows. Before anything flows, and when it changes.
    Route(Route),
    /// Not now: the source itself has less than the sink. Ask again later.
    Wait(String),
    /// The source serves this sink no more, for this reason.
    Refused(String),
}

/// A message that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a replication message of kind {kind:#04x} cannot be read: {what}")]
pub struct BadMessage {
    kind: u8,
    what: &'static str,
}

impl FromSink {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Have { have, recovery, compression, recovering } => {
                out.put_u8(0x01);
                out.put_u8(*recovery as u8);
                out.put_u8(*compression as u8);
                put_optional(&mut out, recovering.as_ref(), |out, tid| out.put_u64(tid.get()));
                put_place(&mut out, have.first);
                put_place(&mut out, have.last);
                put_epochs(&mut out, &have.epochs);
            }
            Self::Compared(checksum) => {
                out.put_u8(0x02);
                put_optional(&mut out, checksum.as_ref(), |out, checksum| {
                    out.put_slice(&checksum.to_bytes())
                });
            }
            Self::Durable(tid) => {
                out.put_u8(0x03);
                out.put_u64(tid.get());
            }
            Self::Failed(reason) => {
                out.put_u8(0x04);
                put_reason(&mut out, reason);
            }
        }
        out.into()
    }

    /// Out of bytes.
    pub fn decode(message: Bytes) -> Result<Self, BadMessage> {
        let mut input = Input::new(message)?;
        let decoded = match input.kind {
            0x01 => {
                let recovery = match input.u8()? {
                    0 => Recovery::Full,
                    1 => Recovery::Fast,
                    _ => return Err(input.bad("unknown kind of recovery")),
                };
                let compression = match input.u8()? {
                    0 => Compression::None,
                    1 => Compression::Zstd,
                    _ => return Err(input.bad("unknown compression")),
                };
                let recovering = input.optional(Input::tid)?;
                let (first, last) = (input.place()?, input.place()?);
                let have = Have { first, last, epochs: input.epochs()? };
                Self::Have { have, recovery, compression, recovering }
            }
            0x02 => Self::Compared(input.optional(Input::checksum)?),
            0x03 => Self::Durable(input.tid()?),
            0x04 => Self::Failed(input.reason()?),
            _ => return Err(input.bad("a sink says no such thing")),
        };
        input.end(decoded)
    }
}

impl FromSource {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out.into()
    }

    /// Appends it as bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Compare(tid) => {
                out.put_u8(0x81);
                out.put_u64(tid.get());
            }
            Self::Stream { what, after, anchor, epochs } => {
                out.put_u8(0x82);
                out.put_u8(*what as u8);
                out.put_u64(after.get());
                put_optional(out, anchor.as_ref(), |out, anchor| put_place(out, *anchor));
                put_epochs(out, epochs);
            }
            Self::Rewind { fork } => {
                out.put_u8(0x83);
                out.put_u64(fork.get());
            }
            Self::Recover => out.put_u8(0x84),
            Self::Whole => out.put_u8(0x8b),
            Self::Blob { oid, last, data } => {
                out.reserve(10 + data.len());
                out.put_u8(0x85);
                out.put_u64(oid.get());
                out.put_u8(u8::from(*last));
                out.put_slice(data);
            }
            Self::Transaction { tid, checksum, portable } => {
                out.reserve(TRANSACTION_HEADER + portable.len());
                put_transaction_header(out, *tid, *checksum);
                out.put_slice(portable);
            }
            Self::Packed { until } => {
                out.put_u8(0x87);
                out.put_u64(until.get());
            }
            Self::Alive { last, log_bytes, unix_micros, distance } => {
                out.put_u8(0x88);
                out.put_u64(last.get());
                out.put_u64(*log_bytes);
                out.put_u64(*unix_micros);
                out.put_u8(*distance);
            }
            Self::Route(route) => {
                out.put_u8(0x8c);
                let nodes = route.nodes();
                out.put_u8(nodes.len() as u8);
                nodes.iter().for_each(|node| put_reason(out, node));
            }
            Self::Wait(reason) => {
                out.put_u8(0x89);
                put_reason(out, reason);
            }
            Self::Refused(reason) => {
                out.put_u8(0x8a);
                put_reason(out, reason);
            }
        }
    }

    /// Out of bytes.
    pub fn decode(message: Bytes) -> Result<Self, BadMessage> {
        let mut input = Input::new(message)?;
        let decoded = match input.kind {
            0x81 => Self::Compare(input.tid()?),
            0x82 => {
                let what = match input.u8()? {
                    0 => Flow::All,
                    1 => Flow::Current,
                    _ => return Err(input.bad("unknown kind of stream")),
                };
                let (after, anchor) = (input.tid()?, input.optional(Input::place)?);
                Self::Stream { what, after, anchor, epochs: input.epochs()? }
            }
            0x83 => Self::Rewind { fork: input.tid()? },
            0x84 => Self::Recover,
            0x8b => Self::Whole,
            0x85 => {
                let oid = Oid::new(input.u64()?);
                let last = input.flag()?;
                if input.rest.len() > BLOB_PART_BYTES_MAX {
                    return Err(input.bad("the part is too long"));
                }
                Self::Blob { oid, last, data: std::mem::take(&mut input.rest) }
            }
            0x86 => {
                let Place { tid, checksum } = input.place()?;
                Self::Transaction { tid, checksum, portable: std::mem::take(&mut input.rest) }
            }
            0x87 => Self::Packed { until: input.tid()? },
            0x88 => Self::Alive {
                last: input.tid()?,
                log_bytes: input.u64()?,
                unix_micros: input.u64()?,
                distance: input.u8()?,
            },
            0x8c => {
                let count = input.u8()? as usize;
                if count > UPSTREAMS_MAX + 1 {
                    return Err(input.bad("too many upstreams"));
                }
                Self::Route(Route::new((0..count).map(|_| input.reason()).collect::<Result<_, _>>()?))
            }
            0x89 => Self::Wait(input.reason()?),
            0x8a => Self::Refused(input.reason()?),
            _ => return Err(input.bad("a source says no such thing")),
        };
        input.end(decoded)
    }
}

/// Length of what stands before the portable form of a transaction, in bytes.
pub const TRANSACTION_HEADER: usize = 25;

/// Begins [`FromSource::Transaction`]; the portable form follows. For those who have it in a buffer already.
pub fn put_transaction_header(out: &mut impl BufMut, tid: Tid, checksum: Checksum) {
    out.put_u8(0x86);
    out.put_u64(tid.get());
    out.put_slice(&checksum.to_bytes());
}

fn put_optional<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    out.put_u64(place.tid.get());
    out.put_slice(&place.checksum.to_bytes());
}

fn put_reason(out: &mut Vec<u8>, reason: &str) {
    let mut length = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    out.put_u16(length as u16);
    out.put_slice(&reason.as_bytes()[..length]);
}

fn put_epochs(out: &mut Vec<u8>, epochs: &Epochs) {
    let epochs = epochs.as_slice();
    out.put_u32(epochs.len() as u32);
    for Epoch { epoch, boundary, fork, node } in epochs {
        out.put_u64(*epoch);
        out.put_u64(boundary.get());
        out.put_u64(fork.get());
        put_reason(out, node);
    }
}

struct Input {
    kind: u8,
    rest: Bytes,
}

impl Input {
    fn new(mut message: Bytes) -> Result<Self, BadMessage> {
        if message.is_empty() {
            return Err(BadMessage { kind: 0, what: "it is empty" });
        }
        Ok(Self { kind: message.get_u8(), rest: message })
    }

    fn bad(&self, what: &'static str) -> BadMessage {
        BadMessage { kind: self.kind, what }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, BadMessage> {
        if self.rest.len() < length {
            return Err(self.bad("it is too short"));
        }
        Ok(self.rest.split_to(length))
    }

    fn u8(&mut self) -> Result<u8, BadMessage> {
        Ok(self.take(1)?.get_u8())
    }

    fn flag(&mut self) -> Result<bool, BadMessage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("a flag is neither 0 nor 1")),
        }
    }

    fn u64(&mut self) -> Result<u64, BadMessage> {
        Ok(self.take(8)?.get_u64())
    }

    fn tid(&mut self) -> Result<Tid, BadMessage> {
        match Tid::new(self.u64()?) {
            tid if tid <= Tid::MAX => Ok(tid),
            _ => Err(self.bad("a tid is beyond the greatest")),
        }
    }

    fn checksum(&mut self) -> Result<Checksum, BadMessage> {
        let bytes = self.take(16)?;
        Ok(Checksum::from_bytes(bytes.as_ref().try_into().expect("sixteen bytes")))
    }

    fn place(&mut self) -> Result<Place, BadMessage> {
        Ok(Place { tid: self.tid()?, checksum: self.checksum()? })
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, BadMessage>,
    ) -> Result<Option<T>, BadMessage> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn reason(&mut self) -> Result<String, BadMessage> {
        let length = self.take(2)?.get_u16() as usize;
        if length > REASON_BYTES_MAX {
            return Err(self.bad("a text is too long"));
        }
        let text = self.take(length)?;
        std::str::from_utf8(&text).map(str::to_owned).map_err(|_| self.bad("a text is not UTF-8"))
    }

    fn epochs(&mut self) -> Result<Epochs, BadMessage> {
        let count = self.take(4)?.get_u32() as usize;
        if count > EPOCHS_MAX {
            return Err(self.bad("too many epochs"));
        }
        let mut epochs = Vec::new();
        for _ in 0..count {
            let (epoch, boundary, fork) = (self.u64()?, self.tid()?, self.tid()?);
            epochs.push(Epoch { epoch, boundary, fork, node: self.reason()? });
        }
        Epochs::new(epochs).map_err(|_| self.bad("the epochs contradict themselves"))
    }

    fn end<T>(self, decoded: T) -> Result<T, BadMessage> {
        if self.rest.is_empty() { Ok(decoded) } else { Err(self.bad("it is too long")) }
    }
}
