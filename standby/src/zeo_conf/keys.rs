//! The keys of one section, taken one by one; what is left over is unknown.

use std::collections::BTreeMap;

use super::report::{Place, Report};
use super::section::{Key, Section};

/// The keys of a section that have not been taken yet.
pub struct Keys<'a> {
    section: &'a Section,
    left: BTreeMap<&'a str, &'a Key>,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// All keys of a section. One that is given again is a mistake, and the first one counts.
    pub fn of(section: &'a Section, report: &mut Report) -> Self {
        let mut left = BTreeMap::<&str, &Key>::new();
        for key in &section.keys {
            if let Some(first) = left.get(key.name.as_str()) {
                let line = first.place.line();
                report.mistake(key.place, format!("`{}` is already given on line {line}", key.name));
            } else {
                left.insert(&key.name, key);
            }
        }
        Self { section, left, known: Vec::new() }
    }

    /// A key's value, converted; `None` if it is not there, or is of no use, which is reported.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        report: &mut Report,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.take_placed(name, report, convert).map(|(value, _)| value)
    }

    /// As [`Keys::take`], with the key's place.
    pub fn take_placed<T>(
        &mut self,
        name: &'static str,
        report: &mut Report,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<(T, Place)> {
        self.known.push(name);
        let key = self.left.remove(name)?;
        match convert(key.value.as_deref()?) {
            Ok(value) => Some((value, key.place)),
            Err(why) => {
                report.mistake(key.place, format!("`{name}`: {why}"));
                None
            }
        }
    }

    /// As [`Keys::take`], for a key that must be there.
    pub fn require<T>(
        &mut self,
        name: &'static str,
        report: &mut Report,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.left.contains_key(name) {
            report.mistake(self.section.place, format!("{} needs `{name}`", self.section));
        }
        self.take(name, report, convert)
    }

    /// A key that the stock server knows, or knew, and that cannot be honoured.
    pub fn refuse(&mut self, name: &str, report: &mut Report, why: &str) {
        if let Some(key) = self.left.remove(name) {
            report.mistake(key.place, format!("`{name}`: {why}"));
        }
    }

    /// What was not taken is unknown.
    pub fn finish(self, report: &mut Report) {
        for key in self.left.values() {
            let name = &key.name;
            let text = match (self.section.kind.as_str(), self.known.as_slice()) {
                ("", _) => format!("`{name}` stands outside of all sections"),
                (_, []) => format!("unknown key `{name}`: {} has none", self.section),
                (_, known) => format!("unknown key `{name}`: {} has {}", self.section, known.join(", ")),
            };
            report.mistake(key.place, text);
        }
    }
}
