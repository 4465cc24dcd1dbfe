//! Which objects a record refers to.
//!
//! A record is two pickles, the class's and the state's. They are walked opcode by opcode; nothing is instantiated and
//! no tree is built. Of the values on the stack only what a persistent id can consist of is kept: what counts as a
//! reference is what `ZODB.serialize.referencesf` returns. A persistent id is an oid, a tuple that begins with one, or
//! a list, which is a weak reference or one into another database and does not count.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::Oid;
use crate::recent::Mix;

/// Why a record could not be read. The offset is into the record's data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} at byte {offset} of the record")]
pub struct BadPickle {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Appends the objects that a record refers to, in the order of the record.
///
/// # Errors
/// The data are not two pickles.
pub fn references(data: &[u8], found: &mut Vec<Oid>) -> Result<(), BadPickle> {
    let mut walker = Walker { data, at: 0, stack: Vec::new(), memo: HashMap::default(), found };
    walker.pickle()?;
    walker.pickle()
}

/// What is known of a value.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// Where a collection begins.
    Mark,
    /// Bytes, or text that may stand for bytes.
    Bytes(&'a [u8]),
    /// An oid that was written as text and encoded.
    Oid([u8; 8]),
    List,
    /// A tuple, of which the first item may be an oid or text.
    Tuple(First<'a>),
    /// The function `_codecs.encode`, by which bytes are written in old protocols.
    Encode,
    Other,
}

#[derive(Clone, Copy)]
enum First<'a> {
    Bytes(&'a [u8]),
    Oid([u8; 8]),
    Other,
}

struct Walker<'a, 'f> {
    data: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    memo: HashMap<u64, Value<'a>, BuildHasherDefault<Mix>>,
    found: &'f mut Vec<Oid>,
}

type Walk<T = ()> = Result<T, BadPickle>;

impl<'a> Walker<'a, '_> {
    fn bad<T>(&self, what: &'static str) -> Walk<T> {
        Err(BadPickle { offset: self.at, what })
    }

    fn take(&mut self, count: u64) -> Walk<&'a [u8]> {
        let rest = &self.data[self.at..];
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.bad("the pickle ends too early"),
        }
    }

    /// A little-endian number of so many bytes.
    fn number(&mut self, bytes: u64) -> Walk<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn sized(&mut self, length_bytes: u64) -> Walk<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }

    fn line(&mut self) -> Walk<&'a [u8]> {
        let rest = &self.data[self.at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.at += end + 1;
                Ok(&rest[..end])
            }
            None => self.bad("a line without an end"),
        }
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Walk<Value<'a>> {
        match self.stack.pop() {
            Some(value) => Ok(value),
            None => self.bad("the stack is empty"),
        }
    }

    fn drop_values(&mut self, count: usize) -> Walk {
        for _ in 0..count {
            self.pop()?;
        }
        Ok(())
    }

    /// Takes away everything back to the last mark; returns the first value behind it.
    fn pop_to_mark(&mut self) -> Walk<Option<Value<'a>>> {
        match self.stack.iter().rposition(|value| matches!(value, Value::Mark)) {
            Some(mark) => {
                let first = self.stack.get(mark + 1).copied();
                self.stack.truncate(mark);
                Ok(first)
            }
            None => self.bad("no mark on the stack"),
        }
    }

    fn tuple(&mut self, length: usize) -> Walk {
        let Some(start) = self.stack.len().checked_sub(length) else { return self.bad("the stack is empty") };
        let first = first_of(self.stack.get(start).copied());
        self.stack.truncate(start);
        self.push(Value::Tuple(first));
        Ok(())
    }

    fn memorize(&mut self, key: u64) -> Walk {
        let Some(value) = self.stack.last().copied() else { return self.bad("the stack is empty") };
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Walk {
        match self.memo.get(&key).copied() {
            Some(value) => {
                self.push(value);
                Ok(())
            }
            None => self.bad("a value that was not memorized"),
        }
    }

    fn decimal(&mut self) -> Walk<u64> {
        let line = self.line()?;
        let number = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        number.map_or_else(|| self.bad("not a number"), Ok)
    }

    fn reduce(&mut self) -> Walk {
        let args = self.pop()?;
        let callable = self.pop()?;
        let value = match (callable, args) {
            (Value::Encode, Value::Tuple(First::Bytes(text))) => encoded(text),
            _ => Value::Other,
        };
        self.push(value);
        Ok(())
    }

    fn reference(&mut self, id: Value<'a>) -> Walk {
        let oid = match id {
            Value::Bytes(bytes) | Value::Tuple(First::Bytes(bytes)) => bytes.try_into().ok(),
            Value::Oid(oid) | Value::Tuple(First::Oid(oid)) => Some(oid),
            Value::List => {
                self.push(Value::Other); // weak, or into another database
                return Ok(());
            }
            _ => return self.bad("a persistent id that is not ZODB's"),
        };
        let Some(oid) = oid else { return self.bad("an oid that is not 8 bytes long") };
        self.found.push(Oid::from_bytes(oid));
        self.push(Value::Other);
        Ok(())
    }

    fn pickle(&mut self) -> Walk {
        self.stack.clear(); // the memo goes on: one pickler writes both
        loop {
            let opcode = self.take(1)?[0];
            match opcode {
                b'.' => return self.pop().map(|_| ()),
                b'(' => self.push(Value::Mark),
                b'0' => self.drop_values(1)?,
                b'1' => drop(self.pop_to_mark()?),
                b'2' => match self.stack.last().copied() {
                    Some(top) => self.push(top),
                    None => return self.bad("the stack is empty"),
                },
                // Numbers and constants.
                b'F' | b'I' | b'L' => {
                    self.line()?;
                    self.push(Value::Other);
                }
                b'J' => self.constant(4)?,
                b'K' => self.constant(1)?,
                b'M' => self.constant(2)?,
                b'G' => self.constant(8)?,
                0x8a => {
                    self.sized(1)?;
                    self.push(Value::Other);
                }
                0x8b => {
                    self.sized(4)?;
                    self.push(Value::Other);
                }
                b'N' | 0x88 | 0x89 => self.push(Value::Other),
                // Text and bytes.
                b'S' => {
                    let line = self.line()?.trim_ascii();
                    self.push(Value::Bytes(line.get(1..line.len().saturating_sub(1)).unwrap_or(line)));
                }
                b'V' => {
                    let line = self.line()?;
                    self.push(Value::Bytes(line));
                }
                b'T' | b'X' | b'B' => self.bytes(4)?,
                b'U' | 0x8c | b'C' => self.bytes(1)?,
                0x8d | 0x8e | 0x96 => self.bytes(8)?,
                // Collections.
                b']' => self.push(Value::List),
                b'}' | 0x8f => self.push(Value::Other),
                b')' => self.push(Value::Tuple(First::Other)),
                b'l' => {
                    self.pop_to_mark()?;
                    self.push(Value::List);
                }
                b'd' | 0x91 => {
                    self.pop_to_mark()?;
                    self.push(Value::Other);
                }
                b't' => {
                    let first = self.pop_to_mark()?;
                    self.push(Value::Tuple(first_of(first)));
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b'a' => self.drop_values(1)?,
                b's' => self.drop_values(2)?,
                b'e' | b'u' | 0x90 => drop(self.pop_to_mark()?),
                // Objects.
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(global(module, name));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let value = match (module, name) {
                        (Value::Bytes(module), Value::Bytes(name)) => global(module, name),
                        _ => Value::Other,
                    };
                    self.push(value);
                }
                b'R' => self.reduce()?,
                b'b' => self.drop_values(1)?,
                0x81 => {
                    self.drop_values(2)?;
                    self.push(Value::Other);
                }
                0x92 => {
                    self.drop_values(3)?;
                    self.push(Value::Other);
                }
                b'i' => {
                    self.line()?;
                    self.line()?;
                    self.pop_to_mark()?;
                    self.push(Value::Other);
                }
                b'o' => {
                    self.pop_to_mark()?;
                    self.push(Value::Other);
                }
                0x82 => self.constant(1)?,
                0x83 => self.constant(2)?,
                0x84 => self.constant(4)?,
                // The memo.
                b'p' => {
                    let key = self.decimal()?;
                    self.memorize(key)?;
                }
                b'q' => {
                    let key = self.number(1)?;
                    self.memorize(key)?;
                }
                b'r' => {
                    let key = self.number(4)?;
                    self.memorize(key)?;
                }
                0x94 => self.memorize(self.memo.len() as u64)?,
                b'g' => {
                    let key = self.decimal()?;
                    self.recall(key)?;
                }
                b'h' => {
                    let key = self.number(1)?;
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.number(4)?;
                    self.recall(key)?;
                }
                // References.
                b'Q' => {
                    let id = self.pop()?;
                    self.reference(id)?;
                }
                b'P' => {
                    let id = self.line()?;
                    self.reference(Value::Bytes(id))?;
                }
                // What says something about the pickle itself.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                0x97 => self.push(Value::Other),
                0x98 => {}
                _ => return self.bad("no pickle has this opcode"),
            }
        }
    }

    fn constant(&mut self, bytes: u64) -> Walk {
        self.take(bytes)?;
        self.push(Value::Other);
        Ok(())
    }

    fn bytes(&mut self, length_bytes: u64) -> Walk {
        let bytes = self.sized(length_bytes)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }
}

fn first_of(value: Option<Value<'_>>) -> First<'_> {
    match value {
        Some(Value::Bytes(bytes)) => First::Bytes(bytes),
        Some(Value::Oid(oid)) => First::Oid(oid),
        _ => First::Other,
    }
}

fn global<'a>(module: &[u8], name: &[u8]) -> Value<'a> {
    if module == b"_codecs" && name == b"encode" { Value::Encode } else { Value::Other }
}

/// Text in latin 1, as bytes: an oid if there are eight of them.
fn encoded<'a>(text: &[u8]) -> Value<'a> {
    let Ok(text) = std::str::from_utf8(text) else { return Value::Other };
    let bytes: Option<Vec<u8>> =
        text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(Value::Other, Value::Oid)
}

#[cfg(test)]
#[path = "references_test.rs"]
mod tests;
