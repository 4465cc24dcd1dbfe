use std::fmt::{self, Display, Write};

use super::Value;

/// Python's `repr()`. Numbers of more than 64 bits are shown in hexadecimal, objects as a call.
impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => write!(f, "{number}"),
            Self::BigInt(bytes) => write_big(f, bytes),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Bytes(bytes) => write_bytes(f, bytes),
            Self::Str(text) => write_text(f, text),
            Self::List(values) => write_all(f, "[", values, "]"),
            Self::Tuple(values) if values.len() == 1 => write_all(f, "(", values, ",)"),
            Self::Tuple(values) => write_all(f, "(", values, ")"),
            Self::Dict(items) => {
                f.write_str("{")?;
                for (index, (key, value)) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
            Self::Global { module, name } => write!(f, "<{module}.{name}>"),
            Self::Object { callable, args, .. } => {
                callable.fmt(f)?;
                write_all(f, "(", args, ")")
            }
        }
    }
}

impl Value<'_> {
    /// Python's `str()`: text as it is, everything else as `repr()` shows it.
    pub fn to_python_str(&self) -> String {
        match self {
            Self::Str(text) => text.clone().into_owned(),
            other => other.to_string(),
        }
    }
}

fn write_all(f: &mut fmt::Formatter<'_>, open: &str, values: &[Value<'_>], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{value}")?;
    }
    f.write_str(close)
}

fn write_big(f: &mut fmt::Formatter<'_>, twos_complement: &[u8]) -> fmt::Result {
    let negative = twos_complement.last().is_some_and(|last| last & 0x80 != 0);
    let mut digits = String::new();
    let mut carry = negative;
    for byte in twos_complement {
        let (byte, overflow) =
            if negative { (!byte).overflowing_add(u8::from(carry)) } else { (*byte, false) };
        carry = overflow;
        let (high, low) = (byte >> 4, byte & 15);
        digits.extend([low, high].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('?')));
    }
    let digits: String = digits.trim_end_matches('0').chars().rev().collect();
    write!(f, "{}0x{digits}", if negative { "-" } else { "" })
}

/// The quote that Python chooses: the double one only where it saves escapes.
fn quote_for(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    write!(f, "b{quote}")?;
    for &byte in bytes {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'\\' => f.write_str("\\\\")?,
            _ if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => f.write_char(byte.into())?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    f.write_char(quote)?;
    for char in text.chars() {
        match char {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            _ if char == quote => write!(f, "\\{quote}")?,
            _ if char.is_control() => write!(f, "\\x{:02x}", u32::from(char))?,
            _ => f.write_char(char)?,
        }
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_python_shows_them() {
        let value = Value::Tuple(vec![
            Value::None,
            Value::Bool(true),
            Value::Int(-3),
            Value::Float(1.0),
            Value::from(b"a'\x00\n\xff\\"),
            "it's".into(),
            Value::List(vec![]),
            Value::Tuple(vec![Value::Int(1)]),
            Value::Dict(vec![("k".into(), Value::Int(1)), ("l".into(), Value::Int(2))]),
        ]);
        let shown = r#"(None, True, -3, 1.0, b"a'\x00\n\xff\\", "it's", [], (1,), {'k': 1, 'l': 2})"#;
        assert_eq!(value.to_string(), shown);
        assert_eq!(Value::from("2").to_python_str(), "2");
        assert_eq!(Value::from(b"1").to_python_str(), "b'1'");
    }

    #[test]
    fn big_numbers_are_shown_in_hexadecimal() {
        assert_eq!(Value::from(u64::MAX).to_string(), "0xffffffffffffffff");
        assert_eq!(Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 0xff]).to_string(), "-0x10000000000000000");
    }
}
