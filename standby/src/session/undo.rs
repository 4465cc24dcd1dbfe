//! `undoLog` and `undoInfo`; names of transactions to be undone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use replica::TransactionHeader;
use zeo_proto::{ErrorReply, Tid, Value};

use super::information::extension_items;
use crate::service::Service;

/// What `undoInfo` wants a description to have.
pub(super) type Specification = Vec<(String, Value<'static>)>;

/// The name by which clients undo a transaction: its tid in base64.
fn undo_id(tid: Tid) -> String {
    STANDARD.encode(tid.to_bytes())
}

/// The transaction with such a name. What is no name of any transaction gives a tid that none has.
pub(super) fn undo_tid(name: &[u8]) -> Tid {
    let decoded = STANDARD.decode(name.trim_ascii()).unwrap_or_default();
    Tid::try_from(&decoded[..]).unwrap_or(Tid::ZERO)
}

/// Descriptions of the transactions that can be undone, newest first: numbers `first` to `last` (exclusive) of
/// those that fit the specification. A negative `last` says how many.
pub(super) fn undo_log(
    service: &Service,
    first: i64,
    last: i64,
    specification: Option<&Specification>,
) -> Result<Value<'static>, ErrorReply> {
    let last = if last < 0 { first.saturating_sub(last) } else { last };
    let skip = usize::try_from(first).unwrap_or(0);
    let limit = usize::try_from(last).unwrap_or(0).saturating_sub(skip);
    let mut wanted = |header: &TransactionHeader| {
        specification.is_none_or(|specification| fits(&description(header), specification))
    };
    let headers = service.storage().undo_log(skip, limit, &mut wanted).map_err(super::errors::read_error)?;
    Ok(Value::List(headers.iter().map(|header| Value::Dict(description(header))).collect()))
}

fn description(header: &TransactionHeader) -> Vec<(Value<'static>, Value<'static>)> {
    let mut items = vec![
        (Value::Str("id".into()), Value::Bytes(undo_id(header.tid).into_bytes().into())),
        (Value::Str("time".into()), Value::Float(header.tid.unix_seconds())),
        (Value::Str("user_name".into()), Value::Bytes(header.user.clone().into())),
        (Value::Str("size".into()), Value::Int(header.length as i64)),
        (Value::Str("description".into()), Value::Bytes(header.description.clone().into())),
    ];
    for (key, value) in extension_items(&header.extension) {
        match items.iter_mut().find(|(known, _)| *known == key) {
            Some(item) => item.1 = value,
            None => items.push((key, value)),
        }
    }
    items
}

fn fits(description: &[(Value<'static>, Value<'static>)], specification: &Specification) -> bool {
    specification.iter().all(|(wanted_key, wanted)| {
        let found = description.iter().find(|(key, _)| key.as_str() == Some(wanted_key));
        wanted.matches(found.map_or(&Value::None, |(_, value)| value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_named_by_its_tid_in_base64() {
        let tid = Tid::new(0x03f9_66f9_cf37_9aaa);
        assert_eq!(undo_id(tid), "A/lm+c83mqo=");
        assert_eq!(undo_tid(b"A/lm+c83mqo="), tid);
        assert_eq!(undo_tid(b"A/lm+c83mqo=\n"), tid);
    }

    #[test]
    fn nonsense_names_no_transaction() {
        assert_eq!(undo_tid(b"?"), Tid::ZERO);
        assert_eq!(undo_tid(b"AAAA"), Tid::ZERO);
    }
}
