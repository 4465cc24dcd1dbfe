//! Reading a TOML document key by key, noting every mistake with its place.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::VARIABLE_PREFIX;
use super::mistakes::{Mistake, Mistakes, Sources};

/// A document, the parts of which are taken out one after the other. What is left in the end is unknown.
pub(super) struct Document<'a> {
    root: DeTable<'a>,
    sources: Sources<'a>,
    mistakes: Vec<(usize, String)>,
    /// Where each value that was read stands, for mistakes that show later: `section.key`.
    places: Vec<(String, usize)>,
}

/// A table of a document.
pub(super) struct Section<'d, 'a> {
    document: &'d mut Document<'a>,
    name: String,
    start: usize,
    table: DeTable<'a>,
}

/// What a value is read by: what it means, or what it should have been.
pub(super) type Read<T> = fn(&DeValue<'_>) -> Result<T, String>;

impl<'a> Document<'a> {
    /// Of this text, with the variables over it.
    pub(super) fn parse(path: &'a str, text: &'a str, variables: &'a [(String, String)]) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            root: root.into_inner(),
            sources: Sources::new(path, text, variables),
            mistakes: Vec::new(),
            places: Vec::new(),
        };
        for error in errors {
            document.mistake(error.span().map_or(0, |span| span.start), error.message().to_owned());
        }
        for (index, (name, value)) in variables.iter().enumerate() {
            let span = document.sources.of_variable(index);
            if let Err(text) = overlay(&mut document.root, name, value, &span) {
                document.mistake(span.start, text);
            }
        }
        document
    }

    /// Reads a section; `None` where there is none.
    pub(super) fn section<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> Option<T> {
        let value = take(&mut self.root, name)?.1;
        let start = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Some(self.read_section(name.to_owned(), start, table, read)),
            _ => {
                self.mistake(start, format!("`{name}` is a section: write [{name}]"));
                None
            }
        }
    }

    /// Reads a section that may be missing, as if it were there and empty.
    pub(super) fn section_or_empty<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let value = take(&mut self.root, name).map(|(_, value)| value);
        let start = value.as_ref().map_or(0, |value| value.span().start);
        let table = match value.map(Spanned::into_inner) {
            None => DeTable::new(),
            Some(DeValue::Table(table)) => table,
            Some(_) => {
                self.mistake(start, format!("`{name}` is a section: write [{name}]"));
                DeTable::new()
            }
        };
        self.read_section(name.to_owned(), start, table, read)
    }

    /// Reads every section of an array of them, `[[name]]`.
    pub(super) fn sections<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Section<'_, 'a>) -> T,
    ) -> Vec<T> {
        let Some((_, value)) = take(&mut self.root, name) else { return Vec::new() };
        let start = value.span().start;
        let wrong = format!("`{name}` is a list of sections: write [[{name}]]");
        let DeValue::Array(items) = value.into_inner() else {
            self.mistake(start, wrong);
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let start = item.span().start;
            match item.into_inner() {
                DeValue::Table(table) => {
                    all.push(self.read_section(format!("{name}.{index}"), start, table, &mut read));
                }
                _ => self.mistake(start, wrong.clone()),
            }
        }
        all
    }

    fn read_section<T>(
        &mut self,
        name: String,
        start: usize,
        table: DeTable<'a>,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        self.places.push((name.clone(), start));
        let mut section = Section { document: self, name, start, table };
        let value = read(&mut section);
        section.finish();
        value
    }

    /// Something is wrong with the value of `section.key`, or with what should be there.
    pub(super) fn wrong(&mut self, key: &str, text: impl Into<String>) {
        let known = |key: &str| self.places.iter().find(|(known, _)| known == key).map(|(_, at)| *at);
        let section = || key.rsplit_once('.').and_then(|(section, _)| known(section));
        let position = known(key).or_else(section).unwrap_or(0);
        self.mistake(position, text.into());
    }

    fn mistake(&mut self, position: usize, text: String) {
        self.mistakes.push((position, text));
    }

    /// What was read, if nothing was wrong with it.
    pub(super) fn finish<T>(mut self, read: T) -> Result<T, Mistakes> {
        let unknown: Vec<_> =
            self.root.iter().map(|(key, _)| (key.span().start, key.get_ref().clone())).collect();
        for (position, name) in unknown {
            self.mistake(position, format!("`{name}` is not a section of a node's configuration"));
        }
        if self.mistakes.is_empty() {
            return Ok(read);
        }
        self.mistakes.sort();
        self.mistakes.dedup();
        let place = |(position, text)| Mistake { place: self.sources.place(position), text };
        Err(Mistakes(self.mistakes.drain(..).map(place).collect()))
    }
}

impl<'a> Section<'_, 'a> {
    /// The value of a key that may be missing.
    pub(super) fn optional<T>(&mut self, key: &str, read: Read<T>) -> Option<T> {
        let (_, value) = take(&mut self.table, key)?;
        let position = value.span().start;
        self.document.places.push((format!("{}.{key}", self.name), position));
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.document.mistake(position, format!("`{key}`: {expected}"));
                None
            }
        }
    }

    /// The value of a key, or what it is without.
    pub(super) fn or<T>(&mut self, key: &str, read: Read<T>, default: T) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(&mut self, key: &str, read: Read<T>) -> Option<T> {
        if !self.table.iter().any(|(known, _)| known.get_ref() == key) {
            let section = self.name.split('.').next().unwrap_or_default().to_owned();
            self.document.mistake(self.start, format!("[{section}] needs `{key}`"));
            return None;
        }
        self.optional(key, read)
    }

    /// Something is wrong with the value of a key that was read.
    pub(super) fn wrong(&mut self, key: &str, text: impl Into<String>) {
        self.document.wrong(&format!("{}.{key}", self.name), text);
    }

    /// Every key that is left, with its value.
    pub(super) fn rest<T>(&mut self, read: Read<T>) -> Vec<(String, T)> {
        let keys: Vec<String> = self.table.iter().map(|(key, _)| key.get_ref().to_string()).collect();
        keys.into_iter().filter_map(|key| Some((key.clone(), self.optional(&key, read)?))).collect()
    }

    fn finish(self) {
        for (key, _) in &self.table {
            let section = self.name.split('.').next().unwrap_or_default();
            let text = format!("`{}` is not a key of [{section}]", key.get_ref());
            self.document.mistakes.push((key.span().start, text));
        }
    }
}

type Entry<'a> = (Spanned<Cow<'a, str>>, Spanned<DeValue<'a>>);

fn take<'a>(table: &mut DeTable<'a>, key: &str) -> Option<Entry<'a>> {
    let key = table.iter().find(|(known, _)| known.get_ref() == key)?.0.clone();
    table.remove_entry(&key)
}

/// Puts the value of `STANDBY__SECTION__KEY` (for a list of sections, `STANDBY__SECTION__0__KEY`) in its place.
fn overlay(root: &mut DeTable<'_>, name: &str, value: &str, span: &Range<usize>) -> Result<(), String> {
    let path = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name).to_ascii_lowercase();
    let parts: Vec<&str> = path.split("__").collect();
    let (section, index, key) = match parts[..] {
        [section, key] => (section, None, key),
        [section, index, key] => {
            let index = index.parse::<usize>();
            (section, Some(index.map_err(|_| format!("expected a number in {name} before the key"))?), key)
        }
        _ => return Err("expected STANDBY__SECTION__KEY or STANDBY__SECTION__NUMBER__KEY".to_owned()),
    };
    let spanned_key = |key: &str| Spanned::new(span.clone(), Cow::Owned(key.to_owned()));
    let no_section = || format!("the file has no [[{section}]] of that number");
    let place = match take(root, section) {
        Some((place, value)) => {
            root.insert(place.clone(), value);
            place
        }
        None if index.is_none() => {
            let place = spanned_key(section);
            root.insert(place.clone(), Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
            place
        }
        None => return Err(no_section()),
    };
    let mut target = root.get_mut(&place).expect("it was just put there").get_mut();
    if let Some(index) = index {
        target = match target {
            DeValue::Array(items) => items.get_mut(index).ok_or_else(no_section)?.get_mut(),
            _ => return Err(no_section()),
        };
    }
    let DeValue::Table(table) = target else { return Err(no_section()) };
    take(table, key);
    table.insert(spanned_key(key), Spanned::new(span.clone(), variable_value(value)));
    Ok(())
}

/// As TOML would read it, else as a string.
fn variable_value(text: &str) -> DeValue<'static> {
    let document = format!("value = {text}");
    if let Ok(parsed) = DeTable::parse(&document)
        && let Some((_, value)) = take(&mut parsed.into_inner(), "value")
    {
        let mut value = value.into_inner();
        value.make_owned();
        return into_static(value);
    }
    DeValue::String(Cow::Owned(text.to_owned()))
}

/// Values of variables are simple, or lists of such.
fn into_static(value: DeValue<'_>) -> DeValue<'static> {
    match value {
        DeValue::String(text) => DeValue::String(Cow::Owned(text.into_owned())),
        DeValue::Boolean(flag) => DeValue::Boolean(flag),
        DeValue::Array(items) => {
            let mut owned = toml::de::DeArray::new();
            for item in items {
                let span = item.span();
                owned.push(Spanned::new(span, into_static(item.into_inner())));
            }
            DeValue::Array(owned)
        }
        // Numbers are read from their text.
        DeValue::Integer(number) => DeValue::String(Cow::Owned(number.to_string())),
        DeValue::Float(number) => DeValue::String(Cow::Owned(number.to_string())),
        DeValue::Datetime(time) => DeValue::Datetime(time),
        DeValue::Table(_) => DeValue::Table(DeTable::new()),
    }
}
