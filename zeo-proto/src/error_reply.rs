use std::borrow::Cow;

use crate::{Encoding, Oid, Serial, Tid, TransactionKey, Value};

/// An exception that a server answers with, in the form of the stock marshaller (`ZEO/asyncio/marshal.py`,
/// `reduce_exception`): the class's name, and its attributes as a dictionary if it has any, else its arguments.
///
/// Clients make exceptions again of the `ZODB.POSException` classes, of `KeyError` and of `TypeError`; of any
/// other they make a `ServerException` that carries the two.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorReply {
    /// No such object, or no such revision.
    PosKey(Oid),
    /// No such blob.
    PosKeyBlob {
        /// Names the file that is missing.
        message: String,
        /// The object.
        oid: Oid,
        /// The revision asked for.
        serial: Tid,
    },
    /// The connection, storage or server is read-only.
    ReadOnly,
    /// The call names another transaction than the connection's.
    StorageTransaction {
        /// The connection's transaction, if it has one.
        current: Option<TransactionKey>,
        /// The transaction the call names.
        given: TransactionKey,
    },
    /// A call out of order.
    StorageTransactionText(String),
    /// The object was changed meanwhile.
    Conflict {
        /// The object.
        oid: Oid,
        /// Its current revision.
        committed: Tid,
        /// The revision that the client's change is based on.
        given: Serial,
    },
    /// An object that was read was changed meanwhile.
    ReadConflict {
        /// The object.
        oid: Oid,
        /// Its current revision.
        committed: Tid,
        /// The revision that the client read.
        given: Serial,
    },
    /// The transaction cannot be undone.
    Undo {
        /// Why.
        reason: String,
        /// For which object, if it is about one.
        oid: Option<Oid>,
    },
    /// The transaction cannot be undone: for each object that is in the way, the reason.
    MultipleUndo(Vec<(Oid, String)>),
    /// `KeyError`, for example of an iterator that is gone.
    Key(Value<'static>),
    /// `TypeError`.
    Type(String),
    /// `ValueError`.
    Value(String),
    /// `AssertionError`, with or without a text.
    Assertion(Option<String>),
    /// `AttributeError`.
    Attribute(String),
    /// Any other.
    Other {
        /// Module and name, with a dot between.
        class: String,
        /// The exception's arguments.
        args: Vec<Value<'static>>,
    },
}

impl ErrorReply {
    /// A pair: the class's name, and its attributes or arguments.
    pub(crate) fn to_value(&self, encoding: Encoding) -> Value<'_> {
        let (class, content) = self.parts(encoding);
        Value::Tuple(vec![Value::Str(class), content])
    }

    fn parts(&self, encoding: Encoding) -> (Cow<'_, str>, Value<'_>) {
        let args = |values| Value::Tuple(values);
        let text = |text: &'_ str| Value::Tuple(vec![Value::from(text.to_owned())]);
        let (class, content) = match self {
            Self::PosKey(oid) => ("ZODB.POSException.POSKeyError", args(vec![Value::from(*oid)])),
            Self::PosKeyBlob { message, oid, serial } => (
                "ZODB.POSException.POSKeyError",
                args(vec![Value::from(&**message), Value::from(*oid), Value::from(*serial)]),
            ),
            Self::ReadOnly => ("ZODB.POSException.ReadOnlyError", args(vec![])),
            Self::StorageTransaction { current, given } => {
                let current = current.as_ref().map_or(Value::None, |current| current.value().clone());
                (STORAGE_TRANSACTION_ERROR, args(vec![current, given.value().clone()]))
            }
            Self::StorageTransactionText(message) => (STORAGE_TRANSACTION_ERROR, text(message)),
            Self::Conflict { oid, committed, given } => (
                "ZODB.POSException.ConflictError",
                conflict("database conflict error", *oid, *committed, *given),
            ),
            Self::ReadConflict { oid, committed, given } => (
                "ZODB.POSException.ReadConflictError",
                conflict("database read conflict error", *oid, *committed, *given),
            ),
            Self::Undo { reason, oid } => (UNDO_ERROR, undo_attributes(reason, Value::from(*oid))),
            Self::MultipleUndo(errors) => {
                ("ZODB.POSException.MultipleUndoErrors", multiple_undo(errors, encoding))
            }
            Self::Key(key) => ("builtins.KeyError", args(vec![key.clone()])),
            Self::Type(message) => ("builtins.TypeError", text(message)),
            Self::Value(message) => ("builtins.ValueError", text(message)),
            Self::Assertion(message) => {
                ("builtins.AssertionError", message.as_deref().map_or(args(vec![]), text))
            }
            Self::Attribute(message) => ("builtins.AttributeError", text(message)),
            Self::Other { class, args } => (&**class, Value::Tuple(args.clone())),
        };
        (Cow::Borrowed(class), content)
    }
}

const STORAGE_TRANSACTION_ERROR: &str = "ZODB.POSException.StorageTransactionError";
const UNDO_ERROR: &str = "ZODB.POSException.UndoError";

/// The attributes of a conflict. The class of the object is left open: a server does not look into records.
fn conflict(message: &'static str, oid: Oid, committed: Tid, given: Serial) -> Value<'static> {
    let serials = Value::Tuple(vec![Value::from(committed), Value::from(given)]);
    Value::Dict(vec![
        ("message".into(), message.into()),
        ("oid".into(), oid.into()),
        ("class_name".into(), Value::None),
        ("serials".into(), serials),
    ])
}

fn undo_attributes<'a>(reason: &'a str, oid: Value<'a>) -> Value<'a> {
    Value::Dict(vec![("_reason".into(), reason.into()), ("_oid".into(), oid)])
}

/// FileStorage makes this exception of pairs of an oid and an `UndoError`, and the exception takes its own reason
/// and oid from the first pair: the reason is an oid, and the oid an error. Clients only look at the pairs.
fn multiple_undo<'a>(errors: &'a [(Oid, String)], encoding: Encoding) -> Value<'a> {
    let pair = |(oid, reason): &'a (Oid, String)| (Value::from(*oid), undo_error(*oid, reason, encoding));
    let (reason, oid) = errors.first().map_or((Value::None, Value::None), pair);
    let pairs = errors.iter().map(pair).map(|(oid, error)| Value::Tuple(vec![oid, error])).collect();
    Value::Dict(vec![("_reason".into(), reason), ("_oid".into(), oid), ("_errs".into(), Value::List(pairs))])
}

/// An `UndoError` inside of a value: in a pickle an exception, as ZODB's exceptions pickle themselves
/// (`POSError.__reduce__`); in msgpack the pair that errors are written as.
fn undo_error(oid: Oid, reason: &str, encoding: Encoding) -> Value<'_> {
    let attributes = undo_attributes(reason, oid.into());
    match (encoding, attributes) {
        (Encoding::Pickle, Value::Dict(mut state)) => {
            state.push(("args".into(), Value::Tuple(vec![reason.into(), oid.into()])));
            let global =
                |name| Value::Global { module: "ZODB.POSException".into(), name: Cow::Borrowed(name) };
            Value::Object {
                callable: Box::new(global("_recon")),
                args: vec![global("UndoError"), Value::Dict(state)],
                state: None,
                new: false,
            }
        }
        (_, attributes) => Value::Tuple(vec![UNDO_ERROR.into(), attributes]),
    }
}
