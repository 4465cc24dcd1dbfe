use std::fmt;

use crate::Value;

/// What a client calls its transaction. Stock clients send Python's `id()` of an object, a number of up to eight
/// bytes; any value will do. It is compared with what the same connection sent before, and echoed in errors.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionKey(Value<'static>);

impl TransactionKey {
    /// The key as the client sent it.
    pub fn value(&self) -> &Value<'static> {
        &self.0
    }
}

impl From<i64> for TransactionKey {
    fn from(id: i64) -> Self {
        Self(Value::Int(id))
    }
}

impl From<Value<'_>> for TransactionKey {
    fn from(id: Value<'_>) -> Self {
        Self(id.into_owned())
    }
}

impl fmt::Display for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
