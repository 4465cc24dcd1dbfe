use crate::message::Parts;
use crate::{DecodeError, Encoding, Limits, MsgId, Value, msgpack, pickle};

/// What a frame from a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming<'a> {
    /// The result of a call.
    Reply {
        /// The call's message id.
        msgid: MsgId,
        /// What it returns.
        result: Value<'a>,
    },
    /// The exception that a call raised.
    Error {
        /// The call's message id.
        msgid: MsgId,
        /// Module and name of the exception, with a dot between.
        class: String,
        /// Its arguments, or a dictionary of its attributes; see [`ErrorReply`](crate::ErrorReply).
        args: Value<'a>,
    },
    /// A call from the server, which wants no reply.
    Call {
        /// The method, for example `invalidateTransaction`.
        method: String,
        /// Its arguments.
        args: Vec<Value<'a>>,
    },
}

/// Reads the payload of a frame from a server. Globals are accepted by any name, since nothing is made of them.
///
/// # Errors
/// The message makes no sense.
pub fn decode_incoming<'a>(
    encoding: Encoding,
    frame: &'a [u8],
    limits: &Limits,
) -> Result<Incoming<'a>, DecodeError> {
    let value = match encoding {
        Encoding::Pickle => pickle::decode_message(frame, limits, pickle::Globals::Replies)?,
        Encoding::Msgpack => msgpack::decode(frame, limits)?,
    };
    let Parts { msgid, flag, name, args } = Parts::from_value(value)?;
    if name != ".reply" {
        let args =
            args.into_sequence().map_err(|_| DecodeError::NotAMessage("the arguments are no sequence"))?;
        return Ok(Incoming::Call { method: name.into_owned(), args });
    }
    if !flag.is_truthy() {
        return Ok(Incoming::Reply { msgid, result: args });
    }
    let error = args.into_sequence().ok().and_then(|parts| <[Value<'_>; 2]>::try_from(parts).ok());
    match error {
        Some([Value::Str(class), args]) => Ok(Incoming::Error { msgid, class: class.into_owned(), args }),
        _ => Err(DecodeError::NotAMessage("the error is not a name and its arguments")),
    }
}
