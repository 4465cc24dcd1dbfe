//! The calls of a ZEO 5 server as data: what to send, and what the answer is. [`Client::ask`](super::Client::ask) and
//! [`Connection::ask`](super::Connection::ask) make them.

use bytes::Bytes;

use super::{Conflict, Invalidations, Metadata, Revision, Undoable, Vote};
use crate::{Oid, Tid, Value};

/// A call whose answer is a `T`.
#[derive(Clone, Debug)]
pub struct Call<'a, T> {
    pub(super) method: &'static str,
    pub(super) args: Vec<Value<'a>>,
    pub(super) answer: fn(Value<'_>) -> Option<T>,
}

fn call<'a, T>(
    method: &'static str,
    args: Vec<Value<'a>>,
    answer: fn(Value<'_>) -> Option<T>,
) -> Call<'a, T> {
    Call { method, args, answer }
}

fn nothing(_: Value<'_>) -> Option<()> {
    Some(())
}

fn tid(value: Value<'_>) -> Option<Tid> {
    value.as_tid()
}

fn anything(value: Value<'_>) -> Option<Value<'static>> {
    Some(value.into_owned())
}

fn oids(value: &Value<'_>) -> Option<Vec<Oid>> {
    value.as_sequence()?.iter().map(Value::as_oid).collect()
}

fn bytes(value: &Value<'_>) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()?))
}

/// Chooses the storage; the first call of a connection. The last transaction.
pub fn register(storage: &str, read_only: bool) -> Call<'_, Tid> {
    call("register", vec![Value::from(storage), Value::Bool(read_only)], tid)
}

/// What the storage is and can, as a dictionary.
pub fn info() -> Call<'static, Value<'static>> {
    call("get_info", vec![], anything)
}

/// The last transaction.
pub fn last_transaction() -> Call<'static, Tid> {
    call("lastTransaction", vec![], tid)
}

/// What has changed since a transaction; `None` if the server cannot tell.
pub fn invalidations(since: Tid) -> Call<'static, Option<Invalidations>> {
    call("getInvalidations", vec![Value::from(since)], |value| match &value {
        Value::None => Some(None),
        _ => match value.as_sequence()? {
            [last, changed] => Some(Some(Invalidations { tid: last.as_tid()?, oids: oids(changed)? })),
            _ => None,
        },
    })
}

/// Unused oids, as many as wanted or fewer.
pub fn new_oids(count: u32) -> Call<'static, Vec<Oid>> {
    call("new_oids", vec![Value::Int(count.into())], |value| oids(&value))
}

/// The revision that was current just before a transaction; `None` where there was none then. An object that is unknown
/// or deleted is refused with `POSKeyError`.
pub fn load_before(oid: Oid, before: Tid) -> Call<'static, Option<Revision>> {
    call("loadBefore", vec![Value::from(oid), Value::from(before)], |value| match &value {
        Value::None => Some(None),
        _ => match value.as_sequence()? {
            [data, serial, end] => Some(Some(Revision {
                data: bytes(data)?,
                serial: serial.as_tid()?,
                end: if *end == Value::None { None } else { Some(end.as_tid()?) },
            })),
            _ => None,
        },
    })
}

/// The record of one exact revision.
pub fn load_serial(oid: Oid, serial: Tid) -> Call<'static, Bytes> {
    call("loadSerial", vec![Value::from(oid), Value::from(serial)], |value| bytes(&value))
}

/// The serial of the current revision.
pub fn serial_of(oid: Oid) -> Call<'static, Tid> {
    call("getTid", vec![Value::from(oid)], tid)
}

/// The newest revisions of an object, at most so many: a list of dictionaries.
pub fn history(oid: Oid, size: u32) -> Call<'static, Value<'static>> {
    call("history", vec![Value::from(oid), Value::Int(size.into())], anything)
}

/// One object after the other, beginning with `from`, or the first: oid, serial, record, and the next object's oid.
/// An empty storage refuses.
pub fn next_object(from: Option<Oid>) -> Call<'static, (Oid, Tid, Bytes, Option<Oid>)> {
    call("record_iternext", vec![Value::from(from)], |value| match value.as_sequence()? {
        [oid, serial, data, next] => {
            let next = if *next == Value::None { None } else { Some(next.as_oid()?) };
            Some((oid.as_oid()?, serial.as_tid()?, bytes(data)?, next))
        }
        _ => None,
    })
}

/// The transactions that can be undone, newest first: those from `first` up to `last`, counted from the newest; a
/// negative `last` is a number of them.
pub fn undo_log(first: i64, last: i64) -> Call<'static, Vec<Undoable>> {
    call("undoLog", vec![Value::Int(first), Value::Int(last)], |value| {
        value.as_sequence()?.iter().map(Undoable::of).collect()
    })
}

/// Removes what was not current at this time, in seconds since 1970, and what cannot be reached. With `wait` it is
/// answered when that is done.
pub fn pack(time: f64, wait: bool) -> Call<'static, ()> {
    call("pack", vec![Value::Float(time), Value::Bool(wait)], nothing)
}

/// Counters, as a dictionary.
pub fn server_status() -> Call<'static, Value<'static>> {
    call("server_status", vec![], anything)
}

/// Nothing, and an answer to it.
pub fn ping() -> Call<'static, ()> {
    call("ping", vec![], nothing)
}

/// Begins a transaction, under a number that the client chooses.
pub fn begin(id: i64, metadata: &Metadata) -> Call<'_, ()> {
    let args = vec![
        Value::Int(id),
        Value::from(&metadata.user[..]),
        Value::from(&metadata.description[..]),
        Value::Dict(metadata.extension.clone()),
        Value::None,
        Value::from(" "),
    ];
    call("tpc_begin", args, nothing)
}

/// First phase of the commit.
pub fn vote(id: i64) -> Call<'static, Vote> {
    call("vote", vec![Value::Int(id)], |value| {
        let mut vote = Vote::default();
        let told = match &value {
            Value::None => &[],
            _ => value.as_sequence()?,
        };
        for one in told {
            match one.as_oid() {
                Some(oid) => vote.changed.push(oid),
                None => vote.conflicts.push(Conflict::of(one)?),
            }
        }
        Some(vote)
    })
}

/// Second phase of the commit; `None` if the server does not know the transaction.
pub fn finish(id: i64) -> Call<'static, Option<Tid>> {
    call("tpc_finish", vec![Value::Int(id)], |value| match value {
        Value::None => Some(None),
        _ => value.as_tid().map(Some),
    })
}

/// Gives a transaction up.
pub fn abort(id: i64) -> Call<'static, ()> {
    call("tpc_abort", vec![Value::Int(id)], nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    fn answer<T>(call: Call<'_, T>, value: Value<'_>) -> Option<T> {
        (call.answer)(value)
    }

    fn fits<T>(call: &Call<'_, T>) {
        let method = Method::named(call.method).expect("a method that servers have");
        let given = call.args.len();
        assert!((method.required()..=method.parameters.len()).contains(&given), "{}: {given}", call.method);
    }

    #[test]
    fn every_call_is_one_that_servers_have() {
        let (oid, tid, metadata) = (Oid::ROOT, Tid::ZERO, Metadata::default());
        fits(&register("1", true));
        fits(&info());
        fits(&last_transaction());
        fits(&invalidations(tid));
        fits(&new_oids(1));
        fits(&load_before(oid, tid));
        fits(&load_serial(oid, tid));
        fits(&serial_of(oid));
        fits(&history(oid, 1));
        fits(&next_object(None));
        fits(&undo_log(0, -20));
        fits(&pack(0.0, true));
        fits(&server_status());
        fits(&ping());
        fits(&begin(1, &metadata));
        fits(&vote(1));
        fits(&finish(1));
        fits(&abort(1));
    }

    #[test]
    fn answers_are_read_or_said_to_make_no_sense() {
        let (oid, tid) = (Value::from(Oid::new(3)), Value::from(Tid::new(7)));
        let told = Value::Tuple(vec![tid.clone(), Value::List(vec![oid.clone()])]);
        let expected = Invalidations { tid: Tid::new(7), oids: vec![Oid::new(3)] };
        assert_eq!(answer(invalidations(Tid::ZERO), told), Some(Some(expected)));
        assert_eq!(answer(invalidations(Tid::ZERO), Value::None), Some(None));
        assert_eq!(answer(invalidations(Tid::ZERO), Value::Int(1)), None);
        assert_eq!(answer(new_oids(1), Value::List(vec![Value::Int(1)])), None);
        assert_eq!(answer(finish(1), Value::None), Some(None));
        assert_eq!(answer(finish(1), tid.clone()), Some(Some(Tid::new(7))));
        assert_eq!(answer(finish(1), Value::from("x")), None);
        let loaded = Value::Tuple(vec![Value::from(&b"data"[..]), tid.clone(), Value::None]);
        let revision = Revision { data: Bytes::from_static(b"data"), serial: Tid::new(7), end: None };
        assert_eq!(answer(load_before(Oid::ROOT, Tid::MAX), loaded), Some(Some(revision)));
    }

    #[test]
    fn a_vote_tells_conflicts_and_what_the_server_has_changed() {
        assert_eq!(answer(vote(1), Value::None), Some(Vote::default()));
        let serials = Value::Tuple(vec![Value::from(Tid::new(9)), Value::from(Tid::new(7))]);
        let conflict = Value::Dict(vec![
            ("oid".into(), Oid::new(3).into()),
            ("serials".into(), serials),
            ("data".into(), Value::from(&b"mine"[..])),
        ]);
        let told = answer(vote(1), Value::List(vec![conflict, Value::from(Oid::new(4))])).expect("a vote");
        assert_eq!(told.changed, [Oid::new(4)]);
        let expected = Conflict { oid: Oid::new(3), committed: Tid::new(9), given: Some(Tid::new(7)) };
        assert_eq!(told.conflicts, [expected]);
    }
}
