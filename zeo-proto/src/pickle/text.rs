//! The arguments of protocol 0's opcodes, which are lines of text.

use std::borrow::Cow;

use crate::value::from_twos_complement;
use crate::{DecodeError, Value};

/// Longer numbers are refused: their cost is the square of their length.
const DIGITS_MAX: usize = 400;

type Parsed<T> = Result<T, DecodeError>;

pub(super) fn utf8(bytes: &[u8]) -> Parsed<&str> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Text("text"))
}

/// A string of Python 2: text where it is ASCII, else bytes.
pub(super) fn python2_string(bytes: &[u8]) -> Value<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Value::from(text),
        _ => Value::from(bytes),
    }
}

/// The number of a memo entry.
pub(super) fn memo_key(line: &[u8]) -> Parsed<u64> {
    utf8(line)?.parse().map_err(|_| DecodeError::Text("memo key"))
}

/// `INT`: a number, or a truth value, which has a leading zero.
pub(super) fn int(line: &[u8]) -> Parsed<Value<'static>> {
    match line {
        b"00" => Ok(Value::Bool(false)),
        b"01" => Ok(Value::Bool(true)),
        _ => decimal(line),
    }
}

/// `LONG`: a number, with an L behind it.
pub(super) fn long(line: &[u8]) -> Parsed<Value<'static>> {
    decimal(line.strip_suffix(b"L").unwrap_or(line))
}

pub(super) fn float(line: &[u8]) -> Parsed<Value<'static>> {
    utf8(line)?.parse().map(Value::Float).map_err(|_| DecodeError::Text("number"))
}

fn decimal(line: &[u8]) -> Parsed<Value<'static>> {
    const ERROR: DecodeError = DecodeError::Text("number");
    if let Ok(number) = utf8(line)?.parse() {
        return Ok(Value::Int(number));
    }
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ERROR);
    }
    let mut number: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u16::from(digit - b'0');
        for byte in &mut number {
            let product = u16::from(*byte) * 10 + carry;
            [*byte, _] = product.to_le_bytes();
            carry = product >> 8;
        }
        if carry > 0 {
            number.push(carry.to_le_bytes()[0]);
        }
    }
    number.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut number {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    Ok(from_twos_complement(&number))
}

/// `STRING`: a string of Python 2 in quotes, with the escapes of its `repr()`.
pub(super) fn quoted(line: &[u8]) -> Parsed<Value<'_>> {
    const ERROR: DecodeError = DecodeError::Text("string");
    let content = match line {
        [b'\'', content @ .., b'\''] | [b'"', content @ .., b'"'] => content,
        _ => return Err(ERROR),
    };
    if !content.contains(&b'\\') {
        return Ok(python2_string(content));
    }
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().ok_or(ERROR)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'x' => {
                let digits = [rest.next().ok_or(ERROR)?, rest.next().ok_or(ERROR)?];
                hexadecimal(&digits).and_then(|number| u8::try_from(number).ok()).ok_or(ERROR)?
            }
            quoted @ (b'\\' | b'\'' | b'"') => quoted,
            _ => return Err(ERROR),
        });
    }
    Ok(python2_string(&bytes).into_owned())
}

/// `UNICODE`: Latin-1, and `\uXXXX` or `\UXXXXXXXX` for the rest (Python's codec `raw-unicode-escape`).
pub(super) fn unicode(line: &[u8]) -> Parsed<Cow<'_, str>> {
    const ERROR: DecodeError = DecodeError::Text("text");
    if line.is_ascii() && !line.contains(&b'\\') {
        return utf8(line).map(Cow::Borrowed);
    }
    let mut units = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [byte, after @ ..] = rest {
        rest = after;
        let digits = match (byte, after) {
            (b'\\', [b'u', ..]) => 4,
            (b'\\', [b'U', ..]) => 8,
            (b'\\', [escaped, after @ ..]) => {
                units.extend([u16::from(*byte), u16::from(*escaped)]);
                rest = after;
                continue;
            }
            _ => {
                units.push(u16::from(*byte));
                continue;
            }
        };
        let number = after.get(1..=digits).and_then(hexadecimal).ok_or(ERROR)?;
        rest = &after[1 + digits..];
        // Python 2 could write a character above U+FFFF as the two halves that UTF-16 makes of it.
        match (u16::try_from(number), char::from_u32(number)) {
            (Ok(unit), _) => units.push(unit),
            (Err(_), Some(char)) => units.extend_from_slice(char.encode_utf16(&mut [0; 2])),
            (Err(_), None) => return Err(ERROR),
        }
    }
    String::from_utf16(&units).map(Cow::Owned).map_err(|_| ERROR)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0u32, |number, digit| Some(number.checked_mul(16)? + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_of_any_size_are_read() {
        assert_eq!(int(b"-7").unwrap(), Value::Int(-7));
        assert_eq!(int(b"01").unwrap(), Value::Bool(true));
        assert_eq!(long(b"9223372036854775807L").unwrap(), Value::Int(i64::MAX));
        assert_eq!(long(b"-9223372036854775808L").unwrap(), Value::Int(i64::MIN));
        assert_eq!(long(b"18446744073709551615L").unwrap(), Value::from(u64::MAX));
        assert_eq!(
            long(b"-18446744073709551616L").unwrap(),
            Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 0xff])
        );
        for wrong in [&b""[..], b"-", b"1x", b"--1", &[b'9'; 401]] {
            assert!(long(wrong).is_err());
        }
    }

    #[test]
    fn quoted_strings_are_unescaped() {
        assert_eq!(quoted(br"'it\'s \x41\n'").unwrap(), Value::from("it's A\n"));
        assert_eq!(quoted(br#""\xe9""#).unwrap(), Value::from(b"\xe9"));
        for wrong in [&b"'"[..], b"'a", b"a", br"'\'", br"'\x4'", br"'\q'"] {
            assert!(quoted(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn raw_unicode_escapes_are_read() {
        assert_eq!(unicode(b"a\xe9\\u20ac\\U0001f600\\u005c").unwrap(), "aé€😀\\");
        assert_eq!(unicode(br"\ud83d\ude00").unwrap(), "😀");
        assert_eq!(unicode(br"\\u20ac").unwrap(), r"\\u20ac");
        for wrong in [&br"\u20a"[..], br"\ud83d", br"\U00110000", br"\uxxxx"] {
            assert!(unicode(wrong).is_err(), "{wrong:?}");
        }
    }
}
