//! Transactions of a file, as they are listed.

use replica::{DumpedRecord, Tid, TransactionHeader};
use standby_control::{ListedRecord, ListedTransaction};

/// Without its records.
pub(crate) fn transaction(header: &TransactionHeader) -> ListedTransaction {
    let status = match header.status {
        b'p' => "packed",
        b'u' => "undone",
        _ => "committed",
    };
    ListedTransaction {
        tid: header.tid.to_string(),
        time: time_of(header.tid),
        status: status.to_owned(),
        user: String::from_utf8_lossy(&header.user).into_owned(),
        description: String::from_utf8_lossy(&header.description).into_owned(),
        position: header.position,
        size: header.length,
        records: Vec::new(),
    }
}

pub(crate) fn record(record: &DumpedRecord) -> ListedRecord {
    ListedRecord {
        oid: record.oid.to_string(),
        position: record.position,
        size: record.size,
        class: record.class.clone(),
        data_tid: record.data_tid.map(|tid| tid.to_string()),
        blob: record.is_blob(),
    }
}

/// When a transaction was, in UTC to the microsecond below; `None` for a tid that is no time.
pub(crate) fn time_of(tid: Tid) -> Option<String> {
    let time = jiff::Timestamp::try_from(tid.to_time()?).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}
