//! The class that a record names, without importing it.
//!
//! A record begins with a pickle of its object's class, in one of the forms that `ZODB/serialize.py` lists: the class as
//! a global, or its module and name as a tuple of two strings; either alone or as the first item of a tuple with
//! arguments. So the class is the first global or pair of strings in the record's data. What `ZODB.utils.get_pickle_metadata`
//! finds in the records of all times, this finds.

use super::forms::decimal;
use super::input::Input;

/// What the beginning of a record's data says of its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClassName {
    /// `module.name`.
    Known(String),
    /// It says it in no form that is known.
    Unknown,
    /// It needs more of the data.
    CutOff,
}

/// Reads the class out of a record's data, or out of their first bytes.
pub(crate) fn class_name(data: &[u8]) -> ClassName {
    let mut reader = Reader { input: Input { data, at: 0 }, stack: Vec::new(), memo: Vec::new() };
    loop {
        match reader.opcode() {
            Ok(Step::On) => {}
            Ok(Step::Class(module, name)) => {
                let (module, name) = (String::from_utf8_lossy(module), String::from_utf8_lossy(name));
                return ClassName::Known(format!("{module}.{name}"));
            }
            Ok(Step::Other) => return ClassName::Unknown,
            // All that the input complains about is its end.
            Err(_) => return ClassName::CutOff,
        }
    }
}

struct Reader<'a> {
    input: Input<'a>,
    /// Strings; `None` is a mark.
    stack: Vec<Option<&'a [u8]>>,
    memo: Vec<(u64, &'a [u8])>,
}

enum Step<'a> {
    On,
    /// Module and name.
    Class(&'a [u8], &'a [u8]),
    /// Something that cannot come before a class.
    Other,
}

impl<'a> Reader<'a> {
    fn opcode(&mut self) -> Result<Step<'a>, &'static str> {
        let input = &mut self.input;
        match input.byte()? {
            0x80 => {
                input.take(1)?;
            }
            0x95 => {
                input.take(8)?;
            }
            b'(' => self.stack.push(None),
            b'c' => return Ok(Step::Class(input.line()?, input.line()?)),
            b'U' | b'C' | 0x8c => self.text(1)?,
            b'T' | b'B' | b'X' => self.text(4)?,
            0x8d | 0x8e => self.text(8)?,
            b'S' => {
                let quoted = input.line()?.trim_ascii();
                self.stack.push(Some(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()));
            }
            b'V' => {
                let line = input.line()?;
                self.stack.push(Some(line));
            }
            b'q' => {
                let at = input.number(1)?;
                self.put(at);
            }
            b'r' => {
                let at = input.number(4)?;
                self.put(at);
            }
            b'p' => match decimal(input.line()?) {
                Ok(at) => self.put(at),
                Err(_) => return Ok(Step::Other),
            },
            0x94 => self.put(self.memo.len() as u64),
            b'h' => {
                let at = input.number(1)?;
                return Ok(self.fetch(at));
            }
            b'j' => {
                let at = input.number(4)?;
                return Ok(self.fetch(at));
            }
            b'g' => match decimal(input.line()?) {
                Ok(at) => return Ok(self.fetch(at)),
                Err(_) => return Ok(Step::Other),
            },
            // A pair by its mark, a pair, a global by its two names.
            b't' => return Ok(self.pair(true)),
            0x86 | 0x93 => return Ok(self.pair(false)),
            _ => return Ok(Step::Other),
        }
        Ok(Step::On)
    }

    fn text(&mut self, width: usize) -> Result<(), &'static str> {
        let length = self.input.number(width)?;
        let text = self.input.take(length)?;
        self.stack.push(Some(text));
        Ok(())
    }

    /// Only strings are kept: what else could be put here is a class, with which this ends.
    fn put(&mut self, at: u64) {
        if let Some(Some(text)) = self.stack.last() {
            self.memo.push((at, text));
        }
    }

    fn fetch(&mut self, at: u64) -> Step<'a> {
        match self.memo.iter().rev().find(|(known, _)| *known == at) {
            Some((_, text)) => {
                self.stack.push(Some(text));
                Step::On
            }
            None => Step::Other,
        }
    }

    fn pair(&self, marked: bool) -> Step<'a> {
        match self.stack[..] {
            [.., None, Some(module), Some(name)] if marked => Step::Class(module, name),
            [.., Some(module), Some(name)] if !marked => Step::Class(module, name),
            _ => Step::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn names(data: &[u8], class: &str) {
        assert_eq!(class_name(data), ClassName::Known(class.to_owned()));
        let end = data.iter().position(|byte| *byte == b'#').expect("a # where the class is known");
        for length in 0..end {
            assert_eq!(class_name(&data[..length]), ClassName::CutOff, "{length} bytes");
        }
    }

    /// Up to `#`, as `pickle.dumps` writes it in the protocols 0 to 4, and as Python 2 did.
    #[test]
    fn the_class_is_found_in_every_form_in_which_zodb_ever_wrote_it() {
        names(b"cpersistent.mapping\nPersistentMapping\n#", "persistent.mapping.PersistentMapping");
        names(
            b"\x80\x03cpersistent.mapping\nPersistentMapping\n#q\x01.",
            "persistent.mapping.PersistentMapping",
        );
        names(b"(cBTrees.OOBTree\nOOBTree\n#q\x01Nt.", "BTrees.OOBTree.OOBTree");
        names(b"\x80\x02(U\x03modU\x04Nameq\x01t#.", "mod.Name");
        names(b"((S'mod'\np0\nS'Name'\np1\nt#p2\nNtp3\n.", "mod.Name");
        names(b"\x80\x02X\x03\0\0\0modq\0X\x04\0\0\0Nameq\x01\x86#q\x02N\x86.", "mod.Name");
        names(b"\x80\x02X\x03\0\0\0modq\0h\0\x86#q\x02N\x86.", "mod.mod");
        names(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x03mod\x94\x8c\x04Name\x94\x93#\x94.", "mod.Name");
        names(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x03mod\x94h\0\x93#\x94.", "mod.mod");
    }

    #[test]
    fn what_names_no_class_is_unknown_and_nothing_panics() {
        for data in [
            &b"."[..],
            b"N.",
            b"K\x01.",
            b"\x80\x02]q\0.",
            b"t",
            b"\x86",
            b"\x93",
            b"h\x05",
            b"g5\n",
            b"gx\n",
            b"S\nt",
        ] {
            assert_eq!(class_name(data), ClassName::Unknown, "{data:?}");
        }
        assert_eq!(class_name(b"X\xff\xff\xff\xffabc"), ClassName::CutOff);
        assert_eq!(class_name(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc"), ClassName::CutOff);
    }
}
