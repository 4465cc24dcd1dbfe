//! The iterator calls: walks over transactions and their records, one step a call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use replica::{Records, TransactionHeader, Transactions};
use zeo_proto::{ErrorReply, Oid, Tid, Value};

use super::information::extension_items;
use super::two_phase::{oid_value, tid_value};
use super::{Call, CloseReason, Outbox, Session};

/// Iterators that one connection may have open.
const ITERATORS_MAX: usize = 10_000;

/// The iterators of a session. Numbers are never used again.
#[derive(Default)]
pub(super) struct Iterators {
    next: i64,
    open: HashMap<i64, Iterator>,
}

#[derive(Clone)]
enum Iterator {
    Transactions(Arc<Mutex<TransactionWalk>>),
    Records(Arc<Mutex<Option<Records>>>),
}

struct TransactionWalk {
    /// `None` after the end.
    walk: Option<Transactions>,
    /// The transaction handed out last: its records may be asked for.
    last: Option<TransactionHeader>,
}

impl Iterators {
    fn add(&mut self, iterator: Iterator) -> Result<i64, ErrorReply> {
        if self.open.len() >= ITERATORS_MAX {
            return Err(super::errors::storage_error(format!("more than {ITERATORS_MAX} open iterators")));
        }
        let id = self.next;
        self.next += 1;
        self.open.insert(id, iterator);
        Ok(id)
    }
}

fn unknown(id: i64) -> ErrorReply {
    ErrorReply::Key(Value::Int(id))
}

impl Session {
    pub(super) fn iterator_start(
        &mut self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Value<'static>, ErrorReply> {
        let registered = self.registered();
        let stop = Some(stop.unwrap_or(Tid::MAX).min(registered.view));
        let walk =
            registered.service.storage().transactions(start, stop).map_err(super::errors::read_error)?;
        let walk = TransactionWalk { walk: Some(walk), last: None };
        registered.iterators.add(Iterator::Transactions(Arc::new(Mutex::new(walk)))).map(Value::Int)
    }

    pub(super) fn iterator_next(&mut self, id: i64, call: Call, out: &mut Outbox) -> Result<(), CloseReason> {
        let Some(Iterator::Transactions(walk)) = self.registered().iterators.open.get(&id).cloned() else {
            return self.answer(&call, Err(unknown(id)), out);
        };
        self.answer_away(call, out, move |_| {
            let mut walk = walk.lock().expect("no step of an iterator panicked");
            match walk.walk.as_mut().map(|walk| walk.next()) {
                None => Err(unknown(id)),
                Some(None) => {
                    *walk = TransactionWalk { walk: None, last: None };
                    Ok(Value::None)
                }
                Some(Some(header)) => {
                    let header = header.map_err(super::errors::read_error)?;
                    let value = transaction_value(&header);
                    walk.last = Some(header);
                    Ok(value)
                }
            }
        });
        Ok(())
    }

    pub(super) fn iterator_record_start(&mut self, id: i64, tid: Tid) -> Result<Value<'static>, ErrorReply> {
        let registered = self.registered();
        let record_id = registered.iterators.next;
        registered.iterators.next += 1; // the stock server counts failed starts too
        let Some(Iterator::Transactions(walk)) = registered.iterators.open.get(&id) else {
            return Err(unknown(id));
        };
        let walk = walk.lock().expect("no step of an iterator panicked");
        let Some(last) = &walk.last else { return Err(unknown(id)) };
        if last.tid != tid {
            let text = format!(
                "Out-of-order request for record iterator for transaction {}",
                python_bytes(&tid.to_bytes())
            );
            return Err(ErrorReply::Other {
                class: "builtins.Exception".to_owned(),
                args: vec![Value::Str(text.into())],
            });
        }
        let records = registered.service.storage().records(last);
        drop(walk);
        let records = Iterator::Records(Arc::new(Mutex::new(Some(records))));
        registered.iterators.open.insert(record_id, records);
        Ok(Value::Int(record_id))
    }

    pub(super) fn iterator_record_next(
        &mut self,
        id: i64,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let Some(Iterator::Records(records)) = self.registered().iterators.open.get(&id).cloned() else {
            return self.answer(&call, Err(unknown(id)), out);
        };
        self.answer_away(call, out, move |_| {
            let mut records = records.lock().expect("no step of an iterator panicked");
            match records.as_mut().map(|records| records.next()) {
                None => Err(unknown(id)),
                Some(None) => {
                    *records = None;
                    Ok(Value::None)
                }
                Some(Some(record)) => {
                    let record = record.map_err(super::errors::read_error)?;
                    Ok(Value::Tuple(vec![
                        oid_value(record.oid),
                        tid_value(record.serial),
                        record.data.map_or(Value::None, |data| Value::Bytes(data.into())),
                        record.data_tid.map_or(Value::None, tid_value),
                    ]))
                }
            }
        });
        Ok(())
    }

    pub(super) fn iterator_gc(&mut self, ids: &[i64]) {
        for id in ids {
            self.registered().iterators.open.remove(id);
        }
    }

    pub(super) fn record_iternext(&mut self, from: Option<Oid>, call: Call, out: &mut Outbox) {
        self.answer_away(call, out, move |service| {
            let mut data = Vec::new();
            let record = service.storage().next_record(from, &mut data).map_err(super::errors::read_error)?;
            let Some(record) = record else {
                // In the words of fsIndex.minKey.
                let empty = service.storage().object_count() == 0;
                let text = if empty { "empty tree" } else { "no key satisfies the conditions" };
                return Err(ErrorReply::Value(text.to_owned()));
            };
            Ok(Value::Tuple(vec![
                oid_value(record.oid),
                tid_value(record.serial),
                Value::Bytes(data.into()),
                record.next.map_or(Value::None, oid_value),
            ]))
        });
    }
}

fn transaction_value(header: &TransactionHeader) -> Value<'static> {
    Value::Tuple(vec![
        tid_value(header.tid),
        Value::Str(char::from(header.status).to_string().into()),
        Value::Bytes(header.user.clone().into()),
        Value::Bytes(header.description.clone().into()),
        Value::Dict(extension_items(&header.extension)),
    ])
}

/// Bytes as Python's `repr` shows them.
pub(super) fn python_bytes(bytes: &[u8]) -> String {
    let mut text = String::from("b'");
    for &byte in bytes {
        match byte {
            b'\'' => text.push_str("\\'"),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('\'');
    text
}
