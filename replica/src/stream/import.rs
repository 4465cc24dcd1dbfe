use bytes::Bytes;

use super::portable::{NotPortable, PortableReader, PortableRecord};
use crate::{Storage, Transaction, TransactionError};

/// Why a transaction could not be taken over from another copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is not one.
    #[error(transparent)]
    NotPortable(#[from] NotPortable),
    /// It could not be collected.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

impl Storage {
    /// A transaction of another copy, from its portable form, to be committed after all that were committed there
    /// before it. It keeps its tid, its status, and every record in its place. A record that points back to what this copy
    /// does not have, since that was packed or left out, becomes one with the data. The data are not copied, unless they are
    /// more than 16 MiB: `portable` stays in memory as long as the transaction.
    pub fn import(&self, portable: Bytes) -> Result<Transaction, ImportError> {
        let mut reader = PortableReader::new(&portable)?;
        let mut transaction = self.begin();
        transaction.share(portable.clone());
        transaction.expect_objects(reader.records_at_most());
        transaction.set_tid(reader.tid);
        transaction.set_status(reader.status);
        let [user, description, extension] = reader.metadata;
        transaction.set_metadata(user, description, extension)?;
        while let Some((oid, record)) = reader.next()? {
            // ZODB may have written two records of one object.
            transaction.keep_earlier(oid);
            match record {
                PortableRecord::Nothing => transaction.delete(oid)?,
                PortableRecord::Data(data) => {
                    let end = portable.len() - reader.left_bytes();
                    transaction.store_shared(oid, end - data.len(), data)?;
                }
                PortableRecord::Pointer(data_tid, data) => transaction.point_or_store(oid, data_tid, data)?,
            }
        }
        Ok(transaction)
    }
}
