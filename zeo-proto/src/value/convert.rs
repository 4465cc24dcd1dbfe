use std::borrow::Cow;

use super::Value;
use crate::{Oid, Tid};

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        match i64::try_from(value) {
            Ok(value) => Self::Int(value),
            Err(_) => {
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.push(0);
                Self::BigInt(bytes)
            }
        }
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl From<Oid> for Value<'_> {
    fn from(oid: Oid) -> Self {
        Self::from(oid.to_bytes().to_vec())
    }
}

impl From<Tid> for Value<'_> {
    fn from(tid: Tid) -> Self {
        Self::from(tid.to_bytes().to_vec())
    }
}

/// `None` is Python's.
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// A whole number of any size from its two's complement, least significant byte first.
pub(crate) fn from_twos_complement(bytes: &[u8]) -> Value<'static> {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut length = bytes.len();
    while length > 8 && bytes[length - 1] == fill && (bytes[length - 2] & 0x80 != 0) == negative {
        length -= 1;
    }
    if length > 8 {
        return Value::BigInt(bytes[..length].to_vec());
    }
    let mut number = [fill; 8];
    number[..length].copy_from_slice(&bytes[..length]);
    Value::Int(i64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_ints_and_only_longer_ones_are_not() {
        assert_eq!(from_twos_complement(&[]), Value::Int(0));
        assert_eq!(from_twos_complement(&[0xff]), Value::Int(-1));
        assert_eq!(from_twos_complement(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Value::Int(255));
        assert_eq!(from_twos_complement(&[0xff; 12]), Value::Int(-1));
        assert_eq!(from_twos_complement(&i64::MIN.to_le_bytes()), Value::Int(i64::MIN));
        let above = [0, 0, 0, 0, 0, 0, 0, 0x80, 0];
        assert_eq!(from_twos_complement(&above), Value::BigInt(above.to_vec()));
        assert_eq!(Value::from(1u64 << 63), Value::BigInt(above.to_vec()));
    }
}
