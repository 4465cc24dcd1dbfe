use rmp::Marker;

use crate::{DecodeError, Limits, Value};

type Read<T> = Result<T, DecodeError>;

/// Reads the one value that the bytes hold.
///
/// # Errors
/// They hold no value, or more than one, or one beyond `limits`.
pub(crate) fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Read<Value<'a>> {
    let mut reader = Reader { rest: bytes, items_left: limits.max_items };
    let value = reader.value(limits.max_depth)?;
    match reader.rest.len() {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}

/// Memory is asked for so many elements at first, however many are announced.
const ELEMENTS_EXPECTED: usize = 16;

struct Reader<'a> {
    rest: &'a [u8],
    items_left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth_left: usize) -> Read<Value<'a>> {
        let depth_left = depth_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        self.items_left = self.items_left.checked_sub(1).ok_or(DecodeError::TooManyItems)?;
        let [byte] = self.array()?;
        Ok(match Marker::from_u8(byte) {
            Marker::Null => Value::None,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
            Marker::FixPos(number) => Value::Int(number.into()),
            Marker::FixNeg(number) => Value::Int(number.into()),
            Marker::U8 => Value::Int(self.u8()?.into()),
            Marker::U16 => Value::Int(self.u16()?.into()),
            Marker::U32 => Value::Int(self.u32()?.into()),
            Marker::U64 => Value::from(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 => self.u8().and_then(|length| self.text(length.into()))?,
            Marker::Str16 => self.u16().and_then(|length| self.text(length.into()))?,
            Marker::Str32 => self.u32().and_then(|length| self.text(length))?,
            Marker::Bin8 => self.u8().and_then(|length| self.bytes(length.into()))?,
            Marker::Bin16 => self.u16().and_then(|length| self.bytes(length.into()))?,
            Marker::Bin32 => self.u32().and_then(|length| self.bytes(length))?,
            Marker::FixArray(length) => self.sequence(length.into(), depth_left)?,
            Marker::Array16 => self.u16().and_then(|length| self.sequence(length.into(), depth_left))?,
            Marker::Array32 => self.u32().and_then(|length| self.sequence(length, depth_left))?,
            Marker::FixMap(length) => self.map(length.into(), depth_left)?,
            Marker::Map16 => self.u16().and_then(|length| self.map(length.into(), depth_left))?,
            Marker::Map32 => self.u32().and_then(|length| self.map(length, depth_left))?,
            _ => return Err(DecodeError::Unsupported(byte)),
        })
    }

    fn sequence(&mut self, length: u32, depth_left: usize) -> Read<Value<'a>> {
        let length = self.announced(length, 1)?;
        let mut values = Vec::with_capacity(length.min(ELEMENTS_EXPECTED));
        for _ in 0..length {
            values.push(self.value(depth_left)?);
        }
        Ok(Value::Tuple(values))
    }

    fn map(&mut self, length: u32, depth_left: usize) -> Read<Value<'a>> {
        let length = self.announced(length, 2)?;
        let mut items = Vec::with_capacity(length.min(ELEMENTS_EXPECTED));
        for _ in 0..length {
            let key = self.value(depth_left)?;
            if !key.is_hashable() {
                return Err(DecodeError::UnhashableKey);
            }
            items.push((key, self.value(depth_left)?));
        }
        Ok(Value::Dict(items))
    }

    /// Refuses to begin a container that cannot be whole: every value takes at least a byte, and counts.
    fn announced(&self, length: u32, values_each: usize) -> Read<usize> {
        let length = length as usize;
        let values = length.saturating_mul(values_each);
        if values > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        if values > self.items_left {
            return Err(DecodeError::TooManyItems);
        }
        Ok(length)
    }

    fn text(&mut self, length: u32) -> Read<Value<'a>> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Value::from).map_err(|_| DecodeError::Text("text"))
    }

    fn bytes(&mut self, length: u32) -> Read<Value<'a>> {
        self.take(length).map(Value::from)
    }

    fn take(&mut self, length: u32) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length as usize).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Read<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_be_bytes)
    }
}
