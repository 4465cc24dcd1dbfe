use rmp::encode;
use thiserror::Error;

use crate::Value;

/// A value that msgpack has no form for: a number of more than 64 bits, a class, an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("msgpack cannot carry the value")]
pub(crate) struct Unencodable;

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value<'_>) -> Result<(), Unencodable> {
    match value {
        Value::None => write_none(out),
        Value::Bool(value) => write_bool(out, *value),
        Value::Int(number) => write_int(out, *number),
        Value::BigInt(bytes) => write_u64(out, bytes)?,
        Value::Float(number) => infallible(encode::write_f64(out, *number)),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Str(text) => write_str(out, text),
        Value::List(values) | Value::Tuple(values) => {
            write_array_len(out, values.len());
            for value in values {
                write_value(out, value)?;
            }
        }
        Value::Dict(items) => {
            infallible(encode::write_map_len(out, length(items.len())));
            for (key, value) in items {
                write_value(out, key)?;
                write_value(out, value)?;
            }
        }
        Value::Global { .. } | Value::Object { .. } => return Err(Unencodable),
    }
    Ok(())
}

pub(crate) fn write_none(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(crate) fn write_int(out: &mut Vec<u8>, number: i64) {
    infallible(encode::write_sint(out, number));
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    infallible(encode::write_bin_len(out, length(bytes.len())));
    out.extend_from_slice(bytes);
}

pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    infallible(encode::write_str_len(out, length(text.len())));
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn write_array_len(out: &mut Vec<u8>, values: usize) {
    infallible(encode::write_array_len(out, length(values)));
}

/// Of the numbers that do not fit 64 bits with a sign, msgpack has those that do without.
fn write_u64(out: &mut Vec<u8>, twos_complement: &[u8]) -> Result<(), Unencodable> {
    match twos_complement {
        [number @ .., 0] => {
            let number = number.try_into().map_err(|_| Unencodable)?;
            infallible(encode::write_uint(out, u64::from_le_bytes(number)));
            Ok(())
        }
        _ => Err(Unencodable),
    }
}

fn length(of: usize) -> u32 {
    u32::try_from(of).expect("values in a message are shorter than 4 GiB")
}

/// Writing to memory cannot fail.
fn infallible<T, E>(written: Result<T, E>) {
    debug_assert!(written.is_ok());
}
