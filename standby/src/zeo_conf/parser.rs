//! From text to sections and keys: directives are followed, references replaced, sections matched with their ends.
//!
//! Reading never stops at a mistake: it is reported, and the most likely meaning is gone on with, so that all
//! mistakes of a file are told at once.

use std::path::{Path, PathBuf};

use super::line::{Line, is_space};
use super::report::{Place, Report};
use super::section::{Key, Section};
use super::substitution::{Definitions, is_name, substitute};
use super::surroundings::Surroundings;

/// Files read for one configuration.
const FILES_MAX: usize = 64;
/// Files that include each other.
const INCLUDE_DEPTH_MAX: usize = 8;
/// Sections in one another.
const SECTION_DEPTH_MAX: usize = 8;
/// Packages whose section types are known here without them.
const KNOWN_PACKAGES: [&str; 3] = ["ZODB", "ZConfig.components.logger", "zdaemon"];

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// All sections.
    pub root: Section,
    /// Whether every part was found and understood: where it was not, nothing can be said to be missing.
    pub whole: bool,
}

/// Reads a file whose text is given, and those that it includes.
pub fn parse(path: &Path, text: &str, surroundings: &dyn Surroundings, report: &mut Report) -> Parsed {
    let place = report.open_file(path);
    let mut parser = Parser {
        surroundings,
        report,
        definitions: Definitions::new(),
        open: vec![Section::new(String::new(), None, place)],
        too_deep: 0,
        reading: Vec::new(),
        whole: true,
    };
    parser.read(path, text, place);
    let root = parser.open.pop().expect("the root is never closed");
    assert!(parser.open.is_empty(), "every file closes what it opened");
    Parsed { root, whole: parser.whole }
}

struct Parser<'a> {
    surroundings: &'a dyn Surroundings,
    report: &'a mut Report,
    definitions: Definitions,
    /// The sections that have started and not ended; the first is the root.
    open: Vec<Section>,
    /// How many sections have started beyond the greatest depth; their content is dropped.
    too_deep: usize,
    /// The files being read, the including before the included.
    reading: Vec<PathBuf>,
    whole: bool,
}

impl Parser<'_> {
    fn read(&mut self, path: &Path, text: &str, file: Place) {
        let (depth, too_deep) = (self.open.len(), self.too_deep);
        self.reading.push(path.to_owned());
        for (index, line) in text.split('\n').enumerate() {
            self.line(line, file.at_line(index + 1), depth);
        }
        self.reading.pop();
        self.too_deep = too_deep;
        while self.open.len() > depth {
            self.close_unclosed();
        }
    }

    fn line(&mut self, line: &str, place: Place, depth: usize) {
        let line = Line::parse(line).unwrap_or_else(|malformed| {
            self.report.mistake(place, malformed.text);
            malformed.meant
        });
        match line {
            Line::Blank => {}
            Line::Start { kind, name, empty } => self.start(kind, name, empty, place),
            Line::End { kind } => self.end(&kind, place, depth),
            Line::Directive { name, argument } => self.directive(name, argument, place),
            Line::KeyValue { key, value } => self.key(key, value, place),
        }
    }

    fn start(&mut self, kind: String, name: Option<String>, empty: bool, place: Place) {
        if self.too_deep > 0 || self.open.len() > SECTION_DEPTH_MAX {
            if self.too_deep == 0 {
                self.report
                    .mistake(place, format!("more than {SECTION_DEPTH_MAX} sections are in one another"));
            }
            self.too_deep += usize::from(!empty);
            return;
        }
        self.open.push(Section::new(kind, name, place));
        if empty {
            self.close();
        }
    }

    /// Ends the innermost section of this kind, among those that this file has started.
    fn end(&mut self, kind: &str, place: Place, depth: usize) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let Some(start) = self.open[depth..].iter().rposition(|section| section.kind == kind) else {
            let text = match self.open[depth..].last() {
                Some(section) => format!("`</{kind}>` ends nothing here: {section} is open"),
                None => format!("`</{kind}>` ends nothing: no section is open"),
            };
            self.report.mistake(place, text);
            return;
        };
        while self.open.len() > depth + start + 1 {
            self.close_unclosed();
        }
        self.close();
    }

    fn close_unclosed(&mut self) {
        let section = self.open.last().expect("there is one");
        let text = format!("{section} is never closed: `</{}>` is missing", section.kind);
        self.report.mistake(section.place, text);
        self.close();
    }

    fn close(&mut self) {
        let section = self.open.pop().expect("there is one");
        self.open.last_mut().expect("the root is never closed").sections.push(section);
    }

    fn key(&mut self, key: &str, value: &str, place: Place) {
        if self.too_deep > 0 {
            return;
        }
        let well_formed = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !well_formed {
            self.report.mistake(place, format!("`{}` cannot be the name of a key", key.escape_debug()));
            return;
        }
        let value = self.substitute(value, place);
        let section = self.open.last_mut().expect("the root is never closed");
        section.keys.push(Key { name: key.to_ascii_lowercase(), value, place });
    }

    fn substitute(&mut self, text: &str, place: Place) -> Option<String> {
        substitute(text, &self.definitions, self.surroundings).unwrap_or_else(|text| {
            self.report.mistake(place, text);
            None
        })
    }

    fn directive(&mut self, name: &str, argument: &str, place: Place) {
        match name {
            "define" | "include" | "import" if argument.is_empty() => {
                self.report.mistake(place, format!("`%{name}` needs an argument"));
            }
            "define" => self.define(argument, place),
            "include" => self.include(argument, place),
            "import" => self.import(argument, place),
            _ => {
                let name = name.escape_debug();
                self.report.mistake(
                    place,
                    format!("unknown directive `%{name}`: there are %define, %include, %import"),
                );
            }
        }
    }

    /// A definition holds for the rest of the file, and for those that include it.
    fn define(&mut self, argument: &str, place: Place) {
        let (name, value) = argument.split_once(is_space).unwrap_or((argument, ""));
        if !is_name(name) {
            let text =
                "the name after `%define` is made of letters, digits and `_`, and starts with no digit";
            self.report.mistake(place, text);
            return;
        }
        let value = self.substitute(value.trim_start_matches(is_space), place);
        let known = self.definitions.entry(name.to_ascii_lowercase()).or_insert_with(|| value.clone());
        if known.is_some() && value.is_some() && *known != value {
            self.report.mistake(place, format!("`{name}` is already defined, with another value"));
        }
    }

    fn import(&mut self, argument: &str, place: Place) {
        let Some(package) = self.substitute(argument, place) else { return };
        if !KNOWN_PACKAGES.contains(&package.as_str()) {
            let text = format!(
                "`%import {}` adds section types of a Python package, which Standby does not have: remove it, and \
                 the sections that need it",
                package.escape_debug()
            );
            self.report.mistake(place, text);
        }
    }

    /// Reads another file as if it stood here; a relative path starts at the including file.
    fn include(&mut self, argument: &str, place: Place) {
        let included = self.substitute(argument, place).and_then(|target| {
            self.included(&target)
                .map_err(|why| {
                    let target = target.escape_debug();
                    self.report.mistake(place, format!("`{target}` cannot be included: {why}"));
                })
                .ok()
        });
        match included {
            Some((path, text)) => {
                let file = self.report.open_file(&path);
                self.read(&path, &text, file);
            }
            None => self.whole = false,
        }
    }

    fn included(&self, target: &str) -> Result<(PathBuf, String), String> {
        let target = target.strip_prefix("file://").unwrap_or(target);
        if is_url(target) {
            return Err("only files can be".to_owned());
        }
        let from = self.reading.last().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        let path = from.join(target);
        if self.reading.contains(&path) {
            return Err("it includes itself".to_owned());
        }
        if self.reading.len() >= INCLUDE_DEPTH_MAX || self.report.file_count() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files, or {INCLUDE_DEPTH_MAX} in one another"));
        }
        let text = self.surroundings.read(&path)?;
        Ok((path, text))
    }
}

/// Whether it starts with a scheme, such as `http:` or `package:`.
fn is_url(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}
