use super::opcode::*;
use crate::Value;

/// How many elements Python puts on the stack before it appends them.
const BATCH: usize = 1000;

/// Appends the opcodes of a value, without `PROTO` and `STOP`.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::None => out.push(NONE),
        Value::Bool(true) => out.push(NEWTRUE),
        Value::Bool(false) => out.push(NEWFALSE),
        Value::Int(number) => write_int(out, *number),
        Value::BigInt(bytes) => write_long(out, bytes),
        Value::Float(number) => {
            out.push(BINFLOAT);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Str(text) => write_str(out, text),
        Value::List(values) => write_list(out, values, |out, value| write_value(out, value)),
        Value::Tuple(values) => write_tuple(out, values),
        Value::Dict(items) => write_dict(out, items),
        Value::Global { module, name } => write_global(out, module, name),
        Value::Object { callable, args, state, new } => {
            write_value(out, callable);
            write_tuple(out, args);
            out.push(if *new { NEWOBJ } else { REDUCE });
            if let Some(state) = state {
                write_value(out, state);
                out.push(BUILD);
            }
        }
    }
}

pub(crate) fn write_int(out: &mut Vec<u8>, number: i64) {
    if let Ok(byte) = u8::try_from(number) {
        out.extend_from_slice(&[BININT1, byte]);
    } else if let Ok(short) = u16::try_from(number) {
        let [low, high] = short.to_le_bytes();
        out.extend_from_slice(&[BININT2, low, high]);
    } else if let Ok(int) = i32::try_from(number) {
        out.push(BININT);
        out.extend_from_slice(&int.to_le_bytes());
    } else {
        let magnitude_bits = 64 - (number ^ (number >> 63)).leading_zeros() as usize;
        let length = magnitude_bits / 8 + 1;
        write_long(out, &number.to_le_bytes()[..length]);
    }
}

/// A number as two's complement, least significant byte first.
fn write_long(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[LONG1, length]),
        Err(_) => write_length(out, LONG4, bytes.len()),
    }
    out.extend_from_slice(bytes);
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[SHORT_BINBYTES, length]),
        Err(_) => write_length(out, BINBYTES, bytes.len()),
    }
    out.extend_from_slice(bytes);
}

pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    write_length(out, BINUNICODE, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Lengths of 4 GiB and more do not exist in protocol 3, nor in a frame.
fn write_length(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(opcode);
    let length = u32::try_from(length).expect("values in a message are shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
}

/// A list, in batches: the last may hold a single element, and only a list of one is written without a mark.
pub(crate) fn write_list<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(EMPTY_LIST);
    if let [value] = values {
        write(out, value);
        out.push(APPEND);
        return;
    }
    for batch in values.chunks(BATCH) {
        out.push(MARK);
        batch.iter().for_each(|value| write(out, value));
        out.push(APPENDS);
    }
}

pub(crate) fn write_tuple(out: &mut Vec<u8>, values: &[Value<'_>]) {
    let opcode = match values.len() {
        0 => EMPTY_TUPLE,
        1 => TUPLE1,
        2 => TUPLE2,
        3 => TUPLE3,
        _ => TUPLE,
    };
    if opcode == TUPLE {
        out.push(MARK);
    }
    values.iter().for_each(|value| write_value(out, value));
    out.push(opcode);
}

/// A dictionary, in batches. Python notices its end only in a batch that is not full, so that a multiple of
/// 1000 ends with an empty batch.
fn write_dict(out: &mut Vec<u8>, items: &[(Value<'_>, Value<'_>)]) {
    out.push(EMPTY_DICT);
    match items {
        [] => return,
        [(key, value)] => {
            write_value(out, key);
            write_value(out, value);
            out.push(SETITEM);
            return;
        }
        _ => (),
    }
    for batch in items.chunks(BATCH) {
        out.push(MARK);
        for (key, value) in batch {
            write_value(out, key);
            write_value(out, value);
        }
        out.push(SETITEMS);
    }
    if items.len().is_multiple_of(BATCH) {
        out.extend_from_slice(&[MARK, SETITEMS]);
    }
}

fn write_global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.push(GLOBAL);
    out.extend_from_slice(module.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
}
