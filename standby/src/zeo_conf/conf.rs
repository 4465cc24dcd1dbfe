//! A whole file, understood.

use super::event_log::EventLog;
use super::keys::Keys;
use super::parser::Parsed;
use super::report::Report;
use super::section::Section;
use super::storage::FileStorageSection;
use super::surroundings::Surroundings;
use super::zeo::ZeoSection;
use super::{event_log, runner, storage, zeo};

/// What a `zeo.conf` asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct ZeoConf {
    /// How clients are served.
    pub zeo: ZeoSection,
    /// What is served, in the order of the file; at least one.
    pub storages: Vec<FileStorageSection>,
    /// What is logged, and where; `None`: nothing was said.
    pub event_log: Option<EventLog>,
}

/// Understands what was read. `None` only with a mistake in the report.
pub fn interpret(parsed: &Parsed, surroundings: &dyn Surroundings, report: &mut Report) -> Option<ZeoConf> {
    let root = &parsed.root;
    Keys::of(root, report).finish(report);
    names_are_unique(root, report);
    let zeo = only(root, "zeo", report).map(|section| zeo::interpret(section, surroundings, report));
    let storages = storage::interpret_all(root, surroundings, report);
    let event_log = only(root, "eventlog", report).map(|section| event_log::interpret(section, report));
    if let Some(section) = only(root, "runner", report) {
        runner::interpret(section, report);
    }
    for section in &root.sections {
        let known = matches!(section.kind.as_str(), "" | "zeo" | "eventlog" | "runner");
        if !known && !storage::is_storage(&section.kind) {
            let text = format!(
                "unknown section {section}: there are <zeo>, <filestorage>, <blobstorage>, <eventlog>"
            );
            report.mistake(section.place, text);
        }
    }
    if parsed.whole {
        if zeo.is_none() {
            report.mistake(root.place, "there is no <zeo> section, which has the server's `address`");
        }
        if !root.sections.iter().any(|section| storage::is_storage(&section.kind)) {
            report.mistake(root.place, "there is no <filestorage> section: nothing would be served");
        }
    }
    Some(ZeoConf { zeo: zeo.flatten()?, storages, event_log })
}

/// The first section of a kind; others are mistakes.
fn only<'a>(root: &'a Section, kind: &str, report: &mut Report) -> Option<&'a Section> {
    let mut sections = root.sections.iter().filter(|section| section.kind == kind);
    let first = sections.next()?;
    for other in sections {
        let line = first.place.line();
        report.mistake(other.place, format!("a second <{kind}> section: the first is on line {line}"));
    }
    Some(first)
}

fn names_are_unique(section: &Section, report: &mut Report) {
    for (index, inner) in section.sections.iter().enumerate() {
        names_are_unique(inner, report);
        let Some(name) = &inner.name else { continue };
        if let Some(first) = section.sections[..index].iter().find(|first| first.name.as_ref() == Some(name))
        {
            let line = first.place.line();
            report.mistake(
                inner.place,
                format!("the name `{name}` is already taken by {first} on line {line}"),
            );
        }
    }
}
