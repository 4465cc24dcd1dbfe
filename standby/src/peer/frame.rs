//! Frames: what a record of a peer connection is made of. The byte tables are in `docs/peer-protocol.md`.

use bytes::{Buf, BufMut, Bytes};

use super::transport::RECORD_BYTES_MAX;

/// Bytes of a frame before its payload: kind, flags, payload length (u16), channel (u32).
pub const HEADER_BYTES: usize = 8;
/// Bytes that begin the payload of [`Frame::Message`]: the request's id (u32) and the message's length (u32).
pub const MESSAGE_PREFIX_BYTES: usize = 8;
/// What protection may add to a record, in bytes.
pub const PROTECTION_BYTES_MAX: usize = 16;
/// The most that the frames of one record take, in bytes.
pub const RECORD_FRAMES_BYTES_MAX: usize = RECORD_BYTES_MAX - PROTECTION_BYTES_MAX;
/// The most of a message that one frame carries, in bytes. Leaves room in the record for pings and credit.
pub const CHUNK_BYTES_MAX: usize = 65_000;
/// The longest name of a channel, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest reason, in bytes; a longer one is cut.
pub const REASON_BYTES_MAX: usize = 1024;

/// What a message is to the layer of requests and answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Neither a request nor an answer.
    Plain,
    /// Wants an answer or a failure with the same id.
    Request,
    /// Answers the request of its id.
    Answer,
    /// Says why the request of its id failed (UTF-8).
    Failure,
}

/// One frame, whose data is shared ([`Bytes`]) where it is sent and borrowed (`&[u8]`) where it is received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<Data = Bytes> {
    /// Asks for a channel, with what its opener receives: the first credit and the largest message, in bytes.
    Open { channel: u32, window_bytes: u32, message_bytes_max: u32, name: String },
    /// Agrees to a channel, with what the acceptor receives.
    Accept { channel: u32, window_bytes: u32, message_bytes_max: u32 },
    /// Declines a channel.
    Refuse { channel: u32, reason: String },
    /// Begins a message of `total` bytes.
    Message { channel: u32, role: Role, id: u32, total: u32, data: Data },
    /// Goes on with the message that was begun.
    More { channel: u32, data: Data },
    /// Lets the other side send so many bytes more.
    Window { channel: u32, bytes: u32 },
    /// The sender says nothing more on the channel.
    Finish { channel: u32 },
    /// Ends the channel in both directions.
    Reset { channel: u32, reason: String },
    /// Wants a [`Frame::Pong`] with the same number.
    Ping { token: u64 },
    /// Answers a ping.
    Pong { token: u64 },
    /// The sender says nothing more at all.
    Goodbye { reason: String },
}

/// Bytes that are no frame: whoever sent them is broken or hostile. Nothing was changed by them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The record ends within a frame.
    #[error("a frame is cut off")]
    CutOff,
    /// A kind that this version does not have.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Flags that the kind does not have.
    #[error("a frame of kind {kind} has unknown flags {flags:#x}")]
    UnknownFlags {
        /// The frame's kind.
        kind: u8,
        /// Its flags.
        flags: u8,
    },
    /// A payload whose length does not fit the kind.
    #[error("a frame of kind {0} has a payload of the wrong length")]
    WrongLength(u8),
    /// A channel number where there can be none, or the other way about.
    #[error("a frame of kind {0} names a wrong channel")]
    WrongChannel(u8),
    /// A name or reason that is not UTF-8.
    #[error("a frame of kind {0} has text that is not UTF-8")]
    NotUtf8(u8),
}

const _: () = assert!(HEADER_BYTES + MESSAGE_PREFIX_BYTES + CHUNK_BYTES_MAX <= RECORD_FRAMES_BYTES_MAX);

mod kind {
    pub const OPEN: u8 = 1;
    pub const ACCEPT: u8 = 2;
    pub const REFUSE: u8 = 3;
    pub const MESSAGE: u8 = 4;
    pub const MORE: u8 = 5;
    pub const WINDOW: u8 = 6;
    pub const FINISH: u8 = 7;
    pub const RESET: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
    pub const GOODBYE: u8 = 11;
}

/// A frame ready to be sent: its head, and the body that is not copied until the record is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    head: [u8; HEADER_BYTES + MESSAGE_PREFIX_BYTES],
    head_bytes: usize,
    body: Bytes,
}

impl Piece {
    fn new(kind: u8, flags: u8, channel: u32, prefix: &[u8], body: Bytes) -> Self {
        let length = u16::try_from(prefix.len() + body.len()).expect("a frame is smaller than a record");
        let mut head = [0; HEADER_BYTES + MESSAGE_PREFIX_BYTES];
        let mut rest = &mut head[..];
        rest.put_u8(kind);
        rest.put_u8(flags);
        rest.put_u16(length);
        rest.put_u32(channel);
        rest.put_slice(prefix);
        Self { head, head_bytes: HEADER_BYTES + prefix.len(), body }
    }

    /// Its length, in bytes.
    pub fn bytes(&self) -> usize {
        self.head_bytes + self.body.len()
    }

    /// Appends it to a record.
    pub fn write(&self, record: &mut Vec<u8>) {
        record.extend_from_slice(&self.head[..self.head_bytes]);
        record.extend_from_slice(&self.body);
    }
}

impl From<Frame> for Piece {
    fn from(frame: Frame) -> Self {
        let small = |kind, channel, payload: Vec<u8>| Self::new(kind, 0, channel, &[], payload.into());
        let text = |kind, channel, text: String| small(kind, channel, text.into_bytes());
        match frame {
            Frame::Open { channel, window_bytes, message_bytes_max, name } => {
                let mut payload = Vec::with_capacity(8 + name.len());
                payload.put_u32(window_bytes);
                payload.put_u32(message_bytes_max);
                payload.put_slice(name.as_bytes());
                small(kind::OPEN, channel, payload)
            }
            Frame::Accept { channel, window_bytes, message_bytes_max } => {
                let mut payload = Vec::with_capacity(8);
                payload.put_u32(window_bytes);
                payload.put_u32(message_bytes_max);
                small(kind::ACCEPT, channel, payload)
            }
            Frame::Refuse { channel, reason } => text(kind::REFUSE, channel, cut(reason)),
            Frame::Message { channel, role, id, total, data } => {
                let mut prefix = [0; MESSAGE_PREFIX_BYTES];
                (&mut prefix[..]).put_u32(id);
                (&mut prefix[4..]).put_u32(total);
                Self::new(kind::MESSAGE, role_flag(role), channel, &prefix, data)
            }
            Frame::More { channel, data } => Self::new(kind::MORE, 0, channel, &[], data),
            Frame::Window { channel, bytes } => small(kind::WINDOW, channel, bytes.to_be_bytes().into()),
            Frame::Finish { channel } => small(kind::FINISH, channel, Vec::new()),
            Frame::Reset { channel, reason } => text(kind::RESET, channel, cut(reason)),
            Frame::Ping { token } => small(kind::PING, 0, token.to_be_bytes().into()),
            Frame::Pong { token } => small(kind::PONG, 0, token.to_be_bytes().into()),
            Frame::Goodbye { reason } => text(kind::GOODBYE, 0, cut(reason)),
        }
    }
}

/// Takes the next frame off a record that is not empty.
pub fn split<'a>(record: &mut &'a [u8]) -> Result<Frame<&'a [u8]>, FrameError> {
    if record.len() < HEADER_BYTES {
        return Err(FrameError::CutOff);
    }
    let kind = record.get_u8();
    let flags = record.get_u8();
    let length = usize::from(record.get_u16());
    let channel = record.get_u32();
    let (mut payload, rest) = record.split_at_checked(length).ok_or(FrameError::CutOff)?;
    *record = rest;
    if !(kind::OPEN..=kind::GOODBYE).contains(&kind) {
        return Err(FrameError::UnknownKind(kind));
    }
    let whole_connection = matches!(kind, kind::PING | kind::PONG | kind::GOODBYE);
    if whole_connection != (channel == 0) {
        return Err(FrameError::WrongChannel(kind));
    }
    if flags != 0 && kind != kind::MESSAGE {
        return Err(FrameError::UnknownFlags { kind, flags });
    }
    let fits = match kind {
        kind::OPEN => (9..=8 + NAME_BYTES_MAX).contains(&length),
        kind::ACCEPT | kind::PING | kind::PONG => length == 8,
        kind::MESSAGE => length >= MESSAGE_PREFIX_BYTES,
        kind::MORE => length > 0,
        kind::WINDOW => length == 4,
        kind::FINISH => length == 0,
        _ => length <= REASON_BYTES_MAX,
    };
    if !fits {
        return Err(FrameError::WrongLength(kind));
    }
    let text = |payload: &[u8]| {
        std::str::from_utf8(payload).map(str::to_owned).map_err(|_| FrameError::NotUtf8(kind))
    };
    Ok(match kind {
        kind::OPEN => Frame::Open {
            channel,
            window_bytes: payload.get_u32(),
            message_bytes_max: payload.get_u32(),
            name: text(payload)?,
        },
        kind::ACCEPT => {
            Frame::Accept { channel, window_bytes: payload.get_u32(), message_bytes_max: payload.get_u32() }
        }
        kind::REFUSE => Frame::Refuse { channel, reason: text(payload)? },
        kind::MESSAGE => {
            let role = flag_role(flags).ok_or(FrameError::UnknownFlags { kind, flags })?;
            let (id, total) = (payload.get_u32(), payload.get_u32());
            Frame::Message { channel, role, id, total, data: payload }
        }
        kind::MORE => Frame::More { channel, data: payload },
        kind::WINDOW => Frame::Window { channel, bytes: payload.get_u32() },
        kind::FINISH => Frame::Finish { channel },
        kind::RESET => Frame::Reset { channel, reason: text(payload)? },
        kind::PING => Frame::Ping { token: payload.get_u64() },
        kind::PONG => Frame::Pong { token: payload.get_u64() },
        _ => Frame::Goodbye { reason: text(payload)? },
    })
}

fn role_flag(role: Role) -> u8 {
    match role {
        Role::Plain => 0,
        Role::Request => 1,
        Role::Answer => 2,
        Role::Failure => 3,
    }
}

fn flag_role(flag: u8) -> Option<Role> {
    [Role::Plain, Role::Request, Role::Answer, Role::Failure]
        .into_iter()
        .find(|role| role_flag(*role) == flag)
}

/// Cuts a reason to its longest length, between characters.
pub fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}
