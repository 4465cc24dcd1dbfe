use std::borrow::Cow;

use super::Request;
use crate::arguments::Arguments;
use crate::method::Method;
use crate::{ErrorReply, Value};

/// The size of `new_oids` without an argument.
const OIDS_AT_ONCE: i64 = 100;

/// The status of a transaction that is not copied from elsewhere.
const STATUS_NORMAL: u8 = b' ';

/// Makes a request of a call's arguments.
pub(crate) fn build<'a>(method: &'static Method, args: Value<'a>) -> Result<Request<'a>, ErrorReply> {
    if method.name == "new_oid" {
        // The stock server fails before it looks at arguments.
        return Ok(Request::NewOid);
    }
    let mut args = Arguments::new(method, args)?;
    let args = &mut args;
    Ok(match method.name {
        "register" => Request::Register { storage: args.value(), read_only: args.truth()? },
        "get_info" => Request::GetInfo,
        "lastTransaction" => Request::LastTransaction,
        "getInvalidations" => Request::GetInvalidations { tid: args.tid()? },
        "new_oids" => Request::NewOids { n: or(args, OIDS_AT_ONCE, Arguments::int)? },
        "loadBefore" => Request::LoadBefore { oid: args.oid()?, before: args.tid()? },
        "loadSerial" => Request::LoadSerial { oid: args.oid()?, serial: args.tid()? },
        "history" => Request::History { oid: args.oid()?, size: or(args, 1, Arguments::int)? },
        "record_iternext" => Request::RecordIternext { next: args.optional_oid()? },
        "getTid" => Request::GetTid { oid: args.oid()? },
        "tpc_begin" => tpc_begin(args)?,
        "storea" => {
            Request::StoreA { oid: args.oid()?, serial: args.serial()?, data: args.bytes()?, id: args.key() }
        }
        "restorea" => Request::RestoreA {
            oid: args.oid()?,
            serial: args.tid()?,
            data: args.optional_bytes()?,
            prev_txn: args.optional_tid()?,
            id: args.key(),
        },
        "deleteObject" => Request::DeleteObject { oid: args.oid()?, serial: args.tid()?, id: args.key() },
        "checkCurrentSerialInTransaction" => {
            Request::CheckCurrentSerialInTransaction { oid: args.oid()?, serial: args.tid()?, id: args.key() }
        }
        "undoa" => Request::UndoA { transaction: args.bytes()?, id: args.key() },
        "vote" => Request::Vote { id: args.key() },
        "tpc_finish" => Request::TpcFinish { id: args.key() },
        "tpc_abort" => Request::TpcAbort { id: args.key() },
        "iterator_start" => {
            Request::IteratorStart { start: args.optional_tid()?, stop: args.optional_tid()? }
        }
        "iterator_next" => Request::IteratorNext { iid: args.int()? },
        "iterator_record_start" => Request::IteratorRecordStart { txn_iid: args.int()?, tid: args.tid()? },
        "iterator_record_next" => Request::IteratorRecordNext { iid: args.int()? },
        "iterator_gc" => {
            Request::IteratorGc { iids: args.sequence()?.iter().filter_map(Value::as_int).collect() }
        }
        "undoLog" => Request::UndoLog { first: args.int()?, last: args.int()? },
        "undoInfo" => {
            Request::UndoInfo { first: args.int()?, last: args.int()?, specification: specification(args)? }
        }
        "pack" => Request::Pack { time: args.float()?, wait: or(args, true, Arguments::truth)? },
        "storeBlobStart" => Request::StoreBlobStart,
        "storeBlobChunk" => Request::StoreBlobChunk { chunk: args.bytes()? },
        "storeBlobEnd" => Request::StoreBlobEnd {
            oid: args.oid()?,
            serial: args.serial()?,
            data: args.bytes()?,
            id: args.key(),
        },
        "storeBlobShared" => Request::StoreBlobShared {
            oid: args.oid()?,
            serial: args.serial()?,
            data: args.bytes()?,
            filename: args.text()?,
            id: args.key(),
        },
        "sendBlob" => Request::SendBlob { oid: args.oid()?, serial: args.tid()? },
        "server_status" => Request::ServerStatus,
        "set_client_label" => Request::SetClientLabel { label: label(args.value()) },
        "ping" => Request::Ping,
        other => {
            let text = format!("'ZEOStorage' object has no attribute '{other}'");
            return Err(ErrorReply::Attribute(text));
        }
    })
}

fn or<'a, T>(
    args: &mut Arguments<'a>,
    default: T,
    take: impl FnOnce(&mut Arguments<'a>) -> Result<T, ErrorReply>,
) -> Result<T, ErrorReply> {
    if args.is_over() { Ok(default) } else { take(args) }
}

fn tpc_begin<'a>(args: &mut Arguments<'a>) -> Result<Request<'a>, ErrorReply> {
    Ok(Request::TpcBegin {
        id: args.key(),
        user: args.bytes()?,
        description: args.bytes()?,
        extension: extension(args)?,
        tid: or(args, None, Arguments::optional_tid)?,
        status: or(args, STATUS_NORMAL, status)?,
    })
}

/// The extension of a transaction: a dictionary. Clients also send None or the empty bytes for an empty one.
fn extension<'a>(args: &mut Arguments<'a>) -> Result<Value<'a>, ErrorReply> {
    match args.value() {
        value @ Value::Dict(_) => Ok(value),
        value if !value.is_truthy() => Ok(Value::Dict(Vec::new())),
        value => Err(args.wrong("a dict", &value)),
    }
}

/// The status of a transaction: one byte, or one character of text.
fn status(args: &mut Arguments<'_>) -> Result<u8, ErrorReply> {
    let value = args.value();
    let bytes = value.as_bytes().or_else(|| value.as_str().map(str::as_bytes));
    match bytes {
        Some(&[status]) => Ok(status),
        _ => Err(args.wrong("a single character", &value)),
    }
}

/// The keys and values that transactions must have; None: any will do.
fn specification<'a>(args: &mut Arguments<'a>) -> Result<Option<Vec<(String, Value<'a>)>>, ErrorReply> {
    let items = match args.value() {
        Value::None => return Ok(None),
        Value::Dict(items) => items,
        value => return Err(args.wrong("a dict or None", &value)),
    };
    let mut specification = Vec::with_capacity(items.len());
    for (key, value) in items {
        match key {
            Value::Str(key) => specification.push((key.into_owned(), value)),
            key => return Err(args.wrong("a dict with str keys", &key)),
        }
    }
    Ok(Some(specification))
}

/// Any value will do for a label, in the form that Python's `str()` gives it.
fn label(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Str(text) => text,
        other => Cow::Owned(other.to_python_str()),
    }
}
