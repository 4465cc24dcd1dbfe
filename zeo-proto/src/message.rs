use std::borrow::Cow;

use crate::method::Method;
use crate::{
    DecodeError, Encoding, ErrorReply, Limits, Oid, Request, Tid, Value, fast, msgpack, pickle, request,
};

/// What a frame from a client says.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// The reply carries it, unchanged.
    pub msgid: MsgId,
    /// Whether the client wants no reply. If such a call fails, there is nobody to tell: the stock server closes
    /// the connection.
    pub oneway: bool,
    /// What it is about.
    pub body: Body<'a>,
}

/// What a [`Message`] is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// A call.
    Request(Request<'a>),
    /// Sent now and then by an idle client; it has no answer.
    KeepAlive,
    /// A call of a method that no server has. The stock server closes the connection.
    UnknownMethod(Cow<'a, str>),
    /// A call with a wrong number or wrong kinds of arguments. It fails with this error.
    BadArguments {
        /// The method called.
        method: &'static str,
        /// What to answer; a `TypeError`.
        error: ErrorReply,
    },
}

/// What a client calls its message, to know the reply by.
#[derive(Clone, Debug, PartialEq)]
pub enum MsgId {
    /// A number, the usual thing.
    Int(i64),
    /// The arguments of `loadBefore`, as a tuple: equal loads of a client share one message.
    Load(Oid, Tid),
    /// Any other value.
    Other(Box<Value<'static>>),
}

impl MsgId {
    /// Calls from the server, and calls that want no reply, carry this one.
    pub const NONE: Self = Self::Int(0);

    fn from_value(value: Value<'_>) -> Self {
        match value {
            Value::Int(number) => Self::Int(number),
            Value::Tuple(parts) => match &parts[..] {
                [oid, tid] => match (oid.as_oid(), tid.as_tid()) {
                    (Some(oid), Some(tid)) => Self::Load(oid, tid),
                    _ => Self::Other(Box::new(Value::Tuple(parts).into_owned())),
                },
                _ => Self::Other(Box::new(Value::Tuple(parts).into_owned())),
            },
            other => Self::Other(Box::new(other.into_owned())),
        }
    }
}

/// The four parts of every message.
pub(crate) struct Parts<'a> {
    pub(crate) msgid: MsgId,
    pub(crate) flag: Value<'a>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) args: Value<'a>,
}

impl<'a> Parts<'a> {
    pub(crate) fn from_value(message: Value<'a>) -> Result<Self, DecodeError> {
        let parts = message.into_sequence().map_err(|_| DecodeError::NotAMessage("it is not a tuple"))?;
        let [msgid, flag, name, args] = <[Value<'_>; 4]>::try_from(parts)
            .map_err(|_| DecodeError::NotAMessage("it does not have four parts"))?;
        let Value::Str(name) = name else {
            return Err(DecodeError::NotAMessage("the method's name is not text"));
        };
        Ok(Self { msgid: MsgId::from_value(msgid), flag, name, args })
    }
}

/// Reads the payload of a frame from a client.
///
/// # Errors
/// The message makes no sense; its sender gets no reply, the connection is to be closed. Calls that make sense
/// and fail are no error here: see [`Body`].
pub fn decode_request<'a>(
    encoding: Encoding,
    frame: &'a [u8],
    limits: &Limits,
) -> Result<Message<'a>, DecodeError> {
    let fast = match encoding {
        Encoding::Pickle => fast::decode_pickle(frame),
        Encoding::Msgpack => fast::decode_msgpack(frame),
    };
    match fast {
        Some(message) => Ok(message),
        None => decode_any_request(encoding, frame, limits),
    }
}

/// [`decode_request`] without its shortcuts.
pub(crate) fn decode_any_request<'a>(
    encoding: Encoding,
    frame: &'a [u8],
    limits: &Limits,
) -> Result<Message<'a>, DecodeError> {
    let value = match encoding {
        Encoding::Pickle => pickle::decode_message(frame, limits, pickle::Globals::Requests)?,
        Encoding::Msgpack => msgpack::decode(frame, limits)?,
    };
    let Parts { msgid, flag, name, args } = Parts::from_value(value)?;
    let oneway = flag.is_truthy();
    let body = if msgid == MsgId::Int(-1) {
        Body::KeepAlive
    } else {
        match Method::named(&name) {
            None => Body::UnknownMethod(name),
            Some(method) => match request::build::build(method, args) {
                Ok(request) => Body::Request(request),
                Err(error) => Body::BadArguments { method: method.name, error },
            },
        }
    };
    Ok(Message { msgid, oneway, body })
}
