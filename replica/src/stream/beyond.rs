use crate::{ReadError, Storage, Tid};

/// What a storage has beyond a transaction: how far behind a copy is that ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// So many transactions, or at least so many where the count was not to go on.
    pub transactions: u64,
    /// They were all counted.
    pub counted: bool,
    /// Their length in the log, in bytes.
    pub bytes: u64,
    /// The first of them.
    pub first: Option<Tid>,
}

impl Storage {
    /// What there is beyond a transaction. Counts up to `count_max` transactions. May wait for the disk.
    pub fn beyond(&self, tid: Tid, count_max: u64) -> Result<Beyond, ReadError> {
        let now = self.inner().now();
        let end = now.mark().end;
        let from = tid.next();
        let Some(first) = now.positions.transaction_from(from)?.filter(|entry| entry.position < end) else {
            return Ok(Beyond { transactions: 0, counted: true, bytes: 0, first: None });
        };
        let transactions = now.positions.transactions_from(from, count_max.saturating_add(1))?;
        Ok(Beyond {
            transactions: transactions.min(count_max),
            counted: transactions <= count_max,
            bytes: end - first.position,
            first: Some(first.tid),
        })
    }
}
