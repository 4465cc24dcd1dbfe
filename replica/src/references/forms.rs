//! What a value would be as a persistent id, by the form in which it is written.

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing that matters.
    Other,
    /// Not in the memo.
    Absent,
    /// Eight bytes, or text that can be eight bytes.
    Oid(u64),
    /// A tuple that begins with such.
    Tuple(u64),
    /// A list.
    List,
    /// The function `_codecs.encode`.
    Encode,
    /// The names of its module and of itself.
    CodecsName,
    /// See [`Kind::CodecsName`].
    EncodeName,
}

pub(super) fn tuple_of(first: Option<Kind>) -> Kind {
    match first {
        Some(Kind::Oid(oid)) => Kind::Tuple(oid),
        _ => Kind::Other,
    }
}

pub(super) fn oid_of(bytes: &[u8]) -> Kind {
    bytes.try_into().map_or(Kind::Other, |bytes| Kind::Oid(u64::from_be_bytes(bytes)))
}

pub(super) fn oid_of_chars(chars: impl Iterator<Item = char>) -> Kind {
    let (mut number, mut count) = (0u64, 0);
    for char in chars {
        let Ok(byte) = u8::try_from(u32::from(char)) else { return Kind::Other };
        count += 1;
        if count > 8 {
            return Kind::Other;
        }
        number = number << 8 | u64::from(byte);
    }
    if count == 8 { Kind::Oid(number) } else { Kind::Other }
}

/// A string as Python 2 writes it with protocol 0: quoted, with backslashes.
pub(super) fn oid_of_quoted(line: &[u8]) -> Kind {
    let line = line.trim_ascii();
    let [quote @ (b'\'' | b'"'), inner @ .., last] = line else { return Kind::Other };
    if quote != last || inner.len() > 32 {
        return Kind::Other;
    }
    let mut bytes = Vec::with_capacity(8);
    let mut rest = inner;
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                rest = after;
                match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Kind::Other,
                }
            }
            (b'\\', [digit @ b'0'..=b'7', ..]) => {
                let mut number = u32::from(digit - b'0');
                rest = &after[1..];
                for _ in 0..2 {
                    let [digit @ b'0'..=b'7', after @ ..] = rest else { break };
                    number = number * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                number as u8
            }
            (b'\\', [escaped, after @ ..]) => {
                rest = after;
                match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    b'\\' | b'\'' | b'"' => *escaped,
                    _ => return Kind::Other,
                }
            }
            (byte, _) => *byte,
        };
        bytes.push(byte);
    }
    oid_of(&bytes)
}

/// Text as protocol 0 writes it: Latin-1, and `\uXXXX` for some.
pub(super) fn oid_of_raw_unicode(line: &[u8]) -> Kind {
    if line.len() > 48 {
        return Kind::Other;
    }
    let mut chars = Vec::with_capacity(8);
    let mut rest = line;
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'\\', [b'u', digits @ ..]) = (first, after)
            && let Some(hex) = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok())
            && let Some(char) = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
        {
            chars.push(char);
            rest = &digits[4..];
        } else {
            chars.push(char::from(*first));
        }
    }
    oid_of_chars(chars.into_iter())
}

pub(super) fn decimal(line: &[u8]) -> Result<u64, &'static str> {
    let digits = std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok());
    digits.ok_or("a memo number that is none")
}
