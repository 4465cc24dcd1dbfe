//! What a session tells about the storage: `get_info`, the `info` push, history, and transaction extensions.

use replica::HistoryEntry;
use tracing::warn;
use zeo_proto::{Encoder, ErrorReply, Limits, Oid, Value, pickle};

use super::{Outbox, Registered, Session};
use crate::service::Service;

const STORAGE_INTERFACES: [(&str, &str); 7] = [
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
    ("ZODB.interfaces", "IStorage"),
    ("zope.interface", "Interface"),
];

/// Under which key clients are told of the cluster.
const CLUSTER: &str = "standby";

const BLOB_INTERFACES: [(&str, &str); 2] =
    [("ZODB.interfaces", "IBlobStorageRestoreable"), ("ZODB.interfaces", "IBlobStorage")];

/// The answer to `get_info`. What a client may ask for hangs on the interfaces, in this order.
pub(super) fn storage_info(service: &Service) -> Value<'static> {
    let blobs = if service.storage().blobs().is_some() { &BLOB_INTERFACES[..] } else { &[] };
    let interface = |(module, name): &(&'static str, &'static str)| {
        Value::Tuple(vec![Value::Str((*module).into()), Value::Str((*name).into())])
    };
    let interfaces = blobs.iter().chain(&STORAGE_INTERFACES).map(interface).collect();
    let storage = service.storage();
    let mut items = vec![
        (Value::Str("length".into()), Value::Int(storage.object_count() as i64)),
        (Value::Str("size".into()), Value::Int(storage.size_bytes() as i64)),
        (Value::Str("name".into()), Value::Str(storage.path().display().to_string().into())),
        (Value::Str("supportsUndo".into()), Value::Bool(true)),
        (Value::Str("supports_record_iternext".into()), Value::Bool(true)),
        (Value::Str("interfaces".into()), Value::Tuple(interfaces)),
    ];
    if let Some(cluster) = service.bulletin().newest() {
        items.push((Value::Str(CLUSTER.into()), Value::clone(&cluster)));
    }
    Value::Dict(items)
}

/// Writes the `info` push that tells a client of the storage's size.
pub(super) fn push_sizes(encoder: &Encoder, out: &mut Vec<u8>, object_count: u64, size_bytes: u64) {
    encoder
        .info(out, &[("length", Value::Int(object_count as i64)), ("size", Value::Int(size_bytes as i64))]);
}

impl Session {
    pub(super) fn push_info(&mut self, out: &mut Outbox) {
        let Some(registered) = &self.registered else { return };
        let storage = registered.service.storage();
        push_sizes(&self.encoder, &mut out.bytes, storage.object_count(), storage.size_bytes());
    }
}

impl Registered {
    /// Writes the `info` push that tells the client of the cluster, if there is news.
    pub(super) fn tell_bulletin(&mut self, encoder: &Encoder, out: &mut Vec<u8>) {
        let bulletin = self.service.bulletin();
        let version = bulletin.version();
        if version != self.bulletin
            && let Some(cluster) = bulletin.newest()
        {
            self.bulletin = version;
            encoder.info(out, &[(CLUSTER, Value::clone(&cluster))]);
        }
    }
}

/// The answer to `history`: the newest revisions of an object, newest first.
pub(super) fn history(service: &Service, oid: Oid, size: i64) -> Result<Value<'static>, ErrorReply> {
    let size = usize::try_from(size).unwrap_or(0);
    let entries = service.storage().history(oid, size).map_err(super::errors::read_error)?;
    Ok(Value::List(entries.into_iter().map(history_value).collect()))
}

fn history_value(entry: HistoryEntry) -> Value<'static> {
    let transaction = entry.transaction;
    let mut items = extension_items(&transaction.extension);
    let own = [
        ("time", Value::Float(transaction.tid.unix_seconds())),
        ("user_name", Value::Bytes(transaction.user.into())),
        ("description", Value::Bytes(transaction.description.into())),
        ("tid", super::two_phase::tid_value(transaction.tid)),
        ("size", Value::Int(entry.size as i64)),
    ];
    for (name, value) in own {
        match items.iter_mut().find(|(key, _)| key.as_str() == Some(name)) {
            Some(item) => item.1 = value,
            None => items.push((Value::Str(name.into()), value)),
        }
    }
    Value::Dict(items)
}

/// A transaction's extension as it is written to the log: a pickled dict, or nothing for an empty one.
pub(super) fn extension_bytes(extension: &Value<'_>) -> Result<Vec<u8>, ErrorReply> {
    match extension {
        Value::None => Ok(Vec::new()),
        Value::Dict(items) if items.is_empty() => Ok(Vec::new()),
        Value::Bytes(pickled) => Ok(pickled.to_vec()),
        Value::Dict(_) => {
            let mut pickled = Vec::new();
            pickle::encode(&mut pickled, extension);
            Ok(pickled)
        }
        other => Err(ErrorReply::Type(format!("tpc_begin: the extension is not a dict but {other:?}"))),
    }
}

/// The items of a transaction's extension in the log. One that is not plain data (its classes are the
/// application's) counts as empty, as in ZODB where the classes are missing.
pub(super) fn extension_items(pickled: &[u8]) -> Vec<(Value<'static>, Value<'static>)> {
    if pickled.is_empty() {
        return Vec::new();
    }
    match pickle::decode(pickled, &Limits::default()).map(Value::into_owned) {
        Ok(Value::Dict(items)) => items,
        Ok(_) => Vec::new(),
        Err(error) => {
            warn!(%error, "a transaction's extension is left out: it is not plain data");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_survives_the_log() {
        let items = vec![
            (Value::Str("x".into()), Value::Int(1)),
            (Value::Str("y".into()), Value::Bytes(b"z"[..].into())),
        ];
        let pickled = extension_bytes(&Value::Dict(items.clone())).expect("a dict");
        assert_eq!(extension_items(&pickled), items);
    }

    #[test]
    fn an_empty_extension_takes_no_space() {
        assert_eq!(extension_bytes(&Value::Dict(vec![])).expect("a dict"), b"");
        assert_eq!(extension_items(b""), vec![]);
    }

    #[test]
    fn an_extension_that_needs_application_classes_counts_as_empty() {
        assert_eq!(extension_items(b"\x80\x03}X\x01\0\0\0xcapp.models\nThing\n)\x81s."), vec![]);
    }
}
