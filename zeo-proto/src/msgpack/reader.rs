use crate::{DecodeError, Limits, Value};

pub(crate) fn decode<'a>(_bytes: &'a [u8], _limits: &Limits) -> Result<Value<'a>, DecodeError> {
    Err(DecodeError::Truncated)
}
