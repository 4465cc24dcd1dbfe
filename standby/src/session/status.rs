//! `server_status`, in the stock server's shape.

use std::time::UNIX_EPOCH;

use zeo_proto::Value;

use crate::service::Service;

/// The status of one storage, key by key in the stock server's order.
pub(super) fn storage_status(service: &Service) -> Vec<(&'static str, Value<'static>)> {
    let stats = service.stats();
    let count = |count: u64| Value::Int(count as i64);
    let (waiting, locked_since) = service.lock_status();
    let lock_time = locked_since.map_or(Value::None, |since| {
        Value::Float(since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    });
    let timeout_thread = match service.options().transaction_timeout {
        Some(_) => Value::Bool(true),
        None => Value::Str("stub".into()),
    };
    let mut status = vec![
        ("connections", count(service.publications().subscribers() as u64)),
        ("loads", count(stats.loads.get())),
        ("stores", count(stats.stores.get())),
        ("commits", count(stats.commits.get())),
        ("aborts", count(stats.aborts.get())),
        ("active_txns", count(stats.active_txns.get())),
        ("lock_time", lock_time),
        ("conflicts", count(stats.conflicts.get())),
        // Clients resolve conflicts; a resolved one cannot be told from any other store.
        ("conflicts_resolved", count(0)),
        ("start", Value::Str(stats.start_ctime().into())),
        ("waiting", count(waiting as u64)),
        ("timeout-thread-is-alive", timeout_thread),
        ("last-transaction", Value::Str(service.publications().last_tid().to_string().into())),
    ];
    // Ours, and only while there is one.
    if let Some(pack) = service.pack_status() {
        let shown = vec![
            (Value::Str("phase".into()), Value::Str(pack.stage.to_string().into())),
            (Value::Str("percent".into()), Value::Float(pack.percent)),
        ];
        status.push(("pack", Value::Dict(shown)));
    }
    status
}

/// The same as JSON, for the answer to `ruok`.
pub(crate) fn storage_status_json(service: &Service) -> serde_json::Value {
    let items = storage_status(service).into_iter().map(|(key, value)| (key.to_owned(), json(value)));
    serde_json::Value::Object(items.collect())
}

fn json(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Int(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Bool(flag) => flag.into(),
        Value::Str(text) => text.into_owned().into(),
        Value::Dict(items) => {
            let items = items.into_iter().filter_map(|(key, value)| match key {
                Value::Str(key) => Some((key.into_owned(), json(value))),
                _ => None,
            });
            serde_json::Value::Object(items.collect())
        }
        _ => serde_json::Value::Null,
    }
}
