//! The persistent references in a record, without making any object.
//!
//! A record is two pickles, the class and the state (`ZODB/serialize.py`). A [`ReferenceScanner`] walks through their
//! opcodes with a stack and a memo, as an unpickler does, but keeps of each value only what it would be as a
//! persistent id:
//!
//! | persistent id | means | is a reference |
//! |---|---|---|
//! | oid | an object | yes |
//! | (oid, class) | an object of this class | yes |
//! | \['w', (oid,)\], \['w', (oid, database)\], \[oid\] | a weak reference | no |
//! | \['n', (database, oid)\], \['m', (database, oid, class)\] | an object of another database | no |
//!
//! An oid is eight bytes, written as bytes, as a Python 2 string, as text of characters below 256, or as
//! `_codecs.encode(text, 'latin1')`. All opcodes of the protocols 0 to 5 are known. What is a reference here
//! is what `ZODB.serialize.referencesf` returns, which does not know the protocols 4 and 5, Python 2 strings beyond
//! ASCII and `_codecs.encode`.

mod class;
mod forms;
mod input;

pub(crate) use self::class::{ClassName, class_name};
use self::forms::{Kind, decimal, oid_of, oid_of_chars, oid_of_quoted, oid_of_raw_unicode, tuple_of};
use self::input::Input;
use crate::Oid;

/// Values on the stack of an unpickler; a record that needs more is taken for damaged. One takes 16 bytes.
const STACK_MAX: usize = 1 << 24;
/// Memo entries with smaller numbers are kept in a vector. One takes 16 bytes.
const MEMO_DENSE: u64 = 1 << 20;

/// Why a record's references could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset} of the record's data")]
pub struct ReferenceError {
    /// Where in the record's data.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Finds references. Keeps its memory from record to record.
#[derive(Debug, Default)]
pub struct ReferenceScanner {
    stack: Vec<Kind>,
    marks: Vec<usize>,
    memo: Vec<Kind>,
    memo_sparse: std::collections::HashMap<u64, Kind>,
    memo_next: u64,
}

impl ReferenceScanner {
    /// A scanner.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands `found` every reference in a record's data, in the order of the pickle, repetitions included.
    ///
    /// # Errors
    /// The data are not two whole pickles, or one has a persistent id of an unknown form. `found` may have been
    /// called before.
    pub fn scan(&mut self, data: &[u8], mut found: impl FnMut(Oid)) -> Result<(), ReferenceError> {
        self.memo.clear();
        self.memo_sparse.clear();
        self.memo_next = 0;
        let mut input = Input { data, at: 0 };
        // The state may refer to the memo of the class.
        self.pickle(&mut input, &mut found)?;
        self.pickle(&mut input, &mut found)
    }

    fn pickle(&mut self, input: &mut Input<'_>, found: &mut impl FnMut(Oid)) -> Result<(), ReferenceError> {
        self.stack.clear();
        self.marks.clear();
        loop {
            let start = input.at;
            match self.opcode(input, found) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(reason) => return Err(ReferenceError { offset: start, reason }),
            }
        }
    }

    /// One opcode. `false`: it was the last one.
    fn opcode(&mut self, input: &mut Input<'_>, found: &mut impl FnMut(Oid)) -> Result<bool, &'static str> {
        match input.byte()? {
            b'.' => {
                self.pop()?;
                return Ok(false);
            }
            // Values that cannot be an oid, by the length of their argument.
            b'N' | 0x88 | 0x89 | b'}' | 0x8f | 0x97 => self.push(Kind::Other)?,
            b'K' => self.skip_and_push(input, 1)?,
            b'M' => self.skip_and_push(input, 2)?,
            b'J' => self.skip_and_push(input, 4)?,
            b'G' => self.skip_and_push(input, 8)?,
            0x82 => self.skip_and_push(input, 1)?,
            0x83 => self.skip_and_push(input, 2)?,
            0x84 => self.skip_and_push(input, 4)?,
            b'F' | b'I' | b'L' => {
                input.line()?;
                self.push(Kind::Other)?;
            }
            0x8a => {
                let length = input.number(1)?;
                self.skip_and_push(input, length)?;
            }
            0x8b => {
                let length = input.number(4)?;
                self.skip_and_push(input, length)?;
            }
            0x96 => {
                let length = input.number(8)?;
                self.skip_and_push(input, length)?;
            }
            // Bytes and text.
            b'U' | b'C' => self.bytes(input, 1)?,
            b'T' | b'B' => self.bytes(input, 4)?,
            0x8e => self.bytes(input, 8)?,
            0x8c => self.text(input, 1)?,
            b'X' => self.text(input, 4)?,
            0x8d => self.text(input, 8)?,
            b'S' => {
                let kind = oid_of_quoted(input.line()?);
                self.push(kind)?;
            }
            b'V' => {
                let kind = oid_of_raw_unicode(input.line()?);
                self.push(kind)?;
            }
            // Containers.
            b']' => self.push(Kind::List)?,
            b')' => self.push(Kind::Other)?,
            b'(' => self.mark()?,
            b'l' => self.gather(Kind::List)?,
            b'd' | 0x91 => self.gather(Kind::Other)?,
            b't' => {
                let mark = self.take_mark()?;
                let tuple = tuple_of(self.stack.get(mark).copied());
                self.stack.truncate(mark);
                self.push(tuple)?;
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b'e' | b'u' | 0x90 => {
                let mark = self.take_mark()?;
                self.stack.truncate(mark);
                self.top()?;
            }
            b'a' => self.drop_above(1)?,
            b's' => self.drop_above(2)?,
            // Objects.
            b'c' => {
                let module = input.line()?;
                let name = input.line()?;
                let encode = module == b"_codecs" && name == b"encode";
                self.push(if encode { Kind::Encode } else { Kind::Other })?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let encode = (module, name) == (Kind::CodecsName, Kind::EncodeName);
                self.push(if encode { Kind::Encode } else { Kind::Other })?;
            }
            b'b' => self.drop_above(1)?,
            0x81 => self.replace(2, Kind::Other)?,
            0x92 => self.replace(3, Kind::Other)?,
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let result = match (function, arguments) {
                    (Kind::Encode, Kind::Tuple(oid)) => Kind::Oid(oid),
                    _ => Kind::Other,
                };
                self.push(result)?;
            }
            b'i' => {
                input.line()?;
                input.line()?;
                self.gather(Kind::Other)?;
            }
            b'o' => {
                let mark = self.take_mark()?;
                if self.stack.len() <= mark {
                    return Err("an object without a class");
                }
                self.stack.truncate(mark);
                self.push(Kind::Other)?;
            }
            // Persistent ids.
            b'Q' => {
                match self.pop()? {
                    Kind::Oid(oid) | Kind::Tuple(oid) => found(Oid::new(oid)),
                    Kind::List => {}
                    _ => return Err("a persistent reference of unknown form"),
                }
                self.push(Kind::Other)?;
            }
            b'P' => {
                let Kind::Oid(oid) = oid_of(input.line()?) else {
                    return Err("a persistent reference of unknown form");
                };
                found(Oid::new(oid));
                self.push(Kind::Other)?;
            }
            // The stack and the memo.
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                }
                _ => {
                    self.pop()?;
                }
            },
            b'1' => {
                let mark = self.take_mark()?;
                self.stack.truncate(mark);
            }
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'q' => {
                let at = input.number(1)?;
                self.put(at)?;
            }
            b'r' => {
                let at = input.number(4)?;
                self.put(at)?;
            }
            b'p' => {
                let at = decimal(input.line()?)?;
                self.put(at)?;
            }
            0x94 => self.put(self.memo_next)?,
            b'h' => {
                let at = input.number(1)?;
                self.fetch(at)?;
            }
            b'j' => {
                let at = input.number(4)?;
                self.fetch(at)?;
            }
            b'g' => {
                let at = decimal(input.line()?)?;
                self.fetch(at)?;
            }
            // What says nothing of a value.
            0x80 => {
                input.take(1)?;
            }
            0x95 => {
                input.take(8)?;
            }
            0x98 => {
                self.top()?;
            }
            _ => return Err("not an opcode of a pickle"),
        }
        Ok(true)
    }

    fn push(&mut self, kind: Kind) -> Result<(), &'static str> {
        if self.stack.len() >= STACK_MAX {
            return Err("more values at once than are allowed");
        }
        self.stack.push(kind);
        Ok(())
    }

    fn pop(&mut self) -> Result<Kind, &'static str> {
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err("a mark where a value should be");
        }
        self.stack.pop().ok_or("a value that is not there")
    }

    fn top(&self) -> Result<Kind, &'static str> {
        self.stack.last().copied().ok_or("a value that is not there")
    }

    /// Takes `count` values off, and leaves what they were added to.
    fn drop_above(&mut self, count: usize) -> Result<(), &'static str> {
        for _ in 0..count {
            self.pop()?;
        }
        self.top().map(|_| ())
    }

    fn replace(&mut self, count: usize, by: Kind) -> Result<(), &'static str> {
        for _ in 0..count {
            self.pop()?;
        }
        self.push(by)
    }

    fn tuple(&mut self, count: usize) -> Result<(), &'static str> {
        let mut first = Kind::Other;
        for _ in 0..count {
            first = self.pop()?;
        }
        self.push(tuple_of(Some(first)))
    }

    fn mark(&mut self) -> Result<(), &'static str> {
        if self.marks.len() >= STACK_MAX {
            return Err("more marks at once than are allowed");
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn take_mark(&mut self) -> Result<usize, &'static str> {
        let mark = self.marks.pop().ok_or("a mark that is not there")?;
        if mark > self.stack.len() {
            return Err("a value that is not there");
        }
        Ok(mark)
    }

    fn gather(&mut self, into: Kind) -> Result<(), &'static str> {
        let mark = self.take_mark()?;
        self.stack.truncate(mark);
        self.push(into)
    }

    fn skip_and_push(&mut self, input: &mut Input<'_>, length: u64) -> Result<(), &'static str> {
        input.take(length)?;
        self.push(Kind::Other)
    }

    fn bytes(&mut self, input: &mut Input<'_>, width: usize) -> Result<(), &'static str> {
        let length = input.number(width)?;
        let kind = oid_of(input.take(length)?);
        self.push(kind)
    }

    fn text(&mut self, input: &mut Input<'_>, width: usize) -> Result<(), &'static str> {
        let length = input.number(width)?;
        let bytes = input.take(length)?;
        let kind = match bytes.len() {
            6 if bytes == b"encode" => Kind::EncodeName,
            7 if bytes == b"_codecs" => Kind::CodecsName,
            // Eight characters below 256.
            8..=16 => std::str::from_utf8(bytes).map_or(Kind::Other, |text| oid_of_chars(text.chars())),
            _ => Kind::Other,
        };
        self.push(kind)
    }

    fn put(&mut self, at: u64) -> Result<(), &'static str> {
        let kind = self.top()?;
        self.memo_next = self.memo_next.max(at.saturating_add(1));
        if at >= MEMO_DENSE {
            self.memo_sparse.insert(at, kind);
            return Ok(());
        }
        let at = at as usize;
        if at >= self.memo.len() {
            self.memo.resize(at + 1, Kind::Absent);
        }
        self.memo[at] = kind;
        Ok(())
    }

    fn fetch(&mut self, at: u64) -> Result<(), &'static str> {
        let kind = if at >= MEMO_DENSE {
            self.memo_sparse.get(&at).copied()
        } else {
            self.memo.get(at as usize).copied().filter(|kind| *kind != Kind::Absent)
        };
        self.push(kind.ok_or("a memo entry that is not there")?)
    }
}

#[cfg(test)]
#[path = "references_test.rs"]
mod tests;
