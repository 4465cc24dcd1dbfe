//! `server_status`, in the stock server's shape. Under the key `clients`, which the stock server does not have, it lists
//! each of them; `ruok` does not: `zeo-nagios` reads its answer in one piece.

use std::time::UNIX_EPOCH;

use zeo_proto::Value;

use crate::service::Service;
use crate::service::clients::Registration;

/// The answer to `server_status`.
pub(super) fn server_status(service: &Service) -> Value<'static> {
    let mut status = storage_status(service);
    // A client that is alone knows all about itself, and finds exactly what the stock server says.
    if service.publications().subscribers() > 1 {
        status.push(("clients", clients(service)));
    }
    dict(status)
}

/// The registered clients, in the order in which they came.
fn clients(service: &Service) -> Value<'static> {
    let waiting = service.waiting_sessions();
    let shown = service.clients().list().into_iter().map(|(session, Registration { client, read_only })| {
        let done = client.counts.read();
        let connected = client.connected().duration_since(UNIX_EPOCH).unwrap_or_default();
        dict(vec![
            ("label", client.label().map_or(Value::None, |label| Value::Str(label.into()))),
            ("address", Value::Str(client.address().to_owned().into())),
            ("since", Value::Float(connected.as_secs_f64())),
            ("read_only", Value::Bool(read_only)),
            ("loads", count(done.loads)),
            ("stores", count(done.stores)),
            ("commits", count(done.commits)),
            ("aborts", count(done.aborts)),
            ("conflicts", count(done.conflicts + done.conflicts_returned)),
            ("waiting", Value::Bool(waiting.contains(&session))),
            ("queued_bytes", count(client.queued_bytes.get())),
        ])
    });
    Value::List(shown.collect())
}

fn count(count: u64) -> Value<'static> {
    Value::Int(count as i64)
}

fn dict(items: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
    Value::Dict(items.into_iter().map(|(key, value)| (Value::Str(key.into()), value)).collect())
}

/// The status of one storage, key by key in the stock server's order.
fn storage_status(service: &Service) -> Vec<(&'static str, Value<'static>)> {
    let stats = service.stats();
    let totals = service.clients().totals();
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
        ("loads", count(totals.loads)),
        ("stores", count(totals.stores)),
        ("commits", count(totals.commits)),
        ("aborts", count(totals.aborts)),
        ("active_txns", count(stats.active_txns.get())),
        ("lock_time", lock_time),
        ("conflicts", count(totals.conflicts)),
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
            ("phase", Value::Str(pack.stage.to_string().into())),
            ("percent", Value::Float(pack.percent)),
        ];
        status.push(("pack", dict(shown)));
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
