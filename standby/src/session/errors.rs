//! What went wrong in the storage, as a client is told.

use std::fmt::Display;

use replica::{ReadError, TransactionError};
use zeo_proto::{ErrorReply, Value};

/// A failed read. An object that is not there is a `POSKeyError`; anything else is the server's trouble.
pub(super) fn read_error(error: ReadError) -> ErrorReply {
    match error {
        ReadError::NotFound(oid) => ErrorReply::PosKey(oid),
        other => storage_error(other),
    }
}

/// A transaction that cannot be written down as it is.
pub(super) fn transaction_error(error: TransactionError) -> ErrorReply {
    storage_error(error)
}

/// A `ZODB.POSException.StorageError` with the error's text.
pub(super) fn storage_error(error: impl Display) -> ErrorReply {
    ErrorReply::Other {
        class: "ZODB.POSException.StorageError".to_owned(),
        args: vec![Value::Str(error.to_string().into())],
    }
}
