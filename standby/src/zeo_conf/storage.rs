//! `<filestorage>`, alone or in a `<blobstorage>`: what is served.

use std::path::PathBuf;

use super::keys::Keys;
use super::report::{Place, Report};
use super::section::Section;
use super::surroundings::Surroundings;
use super::values::{boolean, path, path_in_directory};

/// A storage: a `<filestorage>`, with the directory and the name of the `<blobstorage>` around it, if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStorageSection {
    /// The name that clients give.
    pub name: String,
    /// The Data.fs.
    pub path: PathBuf,
    /// Where its blobs are.
    pub blob_dir: Option<PathBuf>,
    /// Serve it read-only.
    pub read_only: bool,
    /// Whether a pack removes unreachable objects.
    pub pack_gc: bool,
    /// Whether a pack keeps the file as it was, as `.old`.
    pub pack_keep_old: bool,
}

const CREATE: &str = "with it the stock server empties the database at each start, which Standby does not do: \
                      remove the line (a missing file is made)";
const QUOTA: &str =
    "Standby does not bound the size of the file: use a quota of the file system, and remove the line";
const PACKER: &str =
    "it is Python code, which Standby cannot call: remove the line, and Standby's own pack is used";

/// The storages among the sections of a file. A section that is no storage is left to others.
pub fn interpret_all(
    root: &Section,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Vec<FileStorageSection> {
    let mut storages: Vec<(FileStorageSection, Place)> = Vec::new();
    let sections: Vec<_> = root.sections.iter().filter(|section| is_storage(&section.kind)).collect();
    for section in &sections {
        let name = name(section, &sections, report);
        let storage = match section.kind.as_str() {
            "filestorage" => file_storage(section, name, None, surroundings, report),
            "blobstorage" => blob_storage(section, name, surroundings, report),
            kind => {
                report.mistake(section.place, format!("{section} cannot be served: {}", instead_of(kind)));
                None
            }
        };
        let Some(storage) = storage else { continue };
        if let Some((other, place)) = storages.iter().find(|(other, _)| other.path == storage.path) {
            let (path, line) = (storage.path.display(), place.line());
            report.mistake(
                section.place,
                format!("{path} is already served as storage `{}` on line {line}", other.name),
            );
        }
        storages.push((storage, section.place));
    }
    storages.into_iter().map(|(storage, _)| storage).collect()
}

/// Storage types of ZODB and of packages that are often used with it.
pub fn is_storage(kind: &str) -> bool {
    kind.ends_with("storage") || kind == "zrs" || kind == "zeoclient"
}

fn instead_of(kind: &str) -> &'static str {
    match kind {
        "zrs" => "put the <filestorage> in its place; Standby has its own replication",
        "mappingstorage" | "demostorage" | "temporarystorage" => {
            "it keeps data in memory; Standby serves files, with <filestorage>"
        }
        "zlibstorage" | "serverzlibstorage" => {
            "put the <filestorage> in its place, and a <zlibstorage> around the <zeoclient> of every client, which \
             then reads the compressed records"
        }
        "zeoclient" | "clientstorage" => {
            "it is the storage of another server; Standby serves files, with <filestorage>"
        }
        _ => "Standby serves a <filestorage>, alone or in a <blobstorage>",
    }
}

/// One storage may have no name, and is then called `1`.
fn name(section: &Section, all: &[&Section], report: &mut Report) -> String {
    if let Some(name) = &section.name {
        return name.clone();
    }
    let first = all.iter().find(|other| other.name.is_none()).expect("this one has none");
    let called_1 = all.iter().find(|other| other.name.as_deref() == Some("1"));
    if first.place != section.place {
        let line = first.place.line();
        report.mistake(
            section.place,
            format!("{section} needs a name: the one on line {line} has none already"),
        );
    } else if let Some(other) = called_1 {
        let line = other.place.line();
        report.mistake(
            section.place,
            format!("{section} needs a name: without one it is `1`, as the storage on line {line}"),
        );
    }
    "1".to_owned()
}

/// What a `<blobstorage>` says of the storage in it.
struct Wrapping {
    blob_dir: Option<PathBuf>,
    place: Place,
}

fn blob_storage(
    section: &Section,
    name: String,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Option<FileStorageSection> {
    let mut keys = Keys::of(section, report);
    let blob_dir = keys.require("blob-dir", report, path);
    keys.finish(report);
    let (wrapped, others): (Vec<_>, Vec<_>) = section
        .sections
        .iter()
        .filter(|inner| !inner.kind.is_empty())
        .partition(|inner| inner.kind == "filestorage");
    for other in others {
        report.mistake(other.place, format!("{section} must have a <filestorage> in it, not {other}"));
    }
    for second in wrapped.iter().skip(1) {
        report.mistake(second.place, format!("{section} can have only one <filestorage> in it"));
    }
    if section.sections.is_empty() {
        report.mistake(section.place, format!("{section} needs a <filestorage> in it"));
    }
    let wrapping = Wrapping { blob_dir, place: section.place };
    file_storage(wrapped.first()?, name, Some(wrapping), surroundings, report)
}

fn file_storage(
    section: &Section,
    name: String,
    wrapping: Option<Wrapping>,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Option<FileStorageSection> {
    let mut keys = Keys::of(section, report);
    keys.refuse("quota", report, QUOTA);
    if section.keys.iter().any(|key| key.name == "packer" && key.value.as_deref() != Some("")) {
        keys.refuse("packer", report, PACKER);
    }
    let path = keys.require("path", report, |text| path_in_directory(text, surroundings));
    let own_blob_dir = keys.take_placed("blob-dir", report, |text| match text {
        "" => Ok(None),
        text => path_in_directory(text, surroundings).map(Some),
    });
    let blob_dir = match (wrapping, own_blob_dir) {
        (Some(wrapping), Some((Some(_), place))) => {
            let line = wrapping.place.line();
            report.mistake(place, format!("`blob-dir` is already given by the <blobstorage> on line {line}"));
            wrapping.blob_dir
        }
        (Some(wrapping), _) => wrapping.blob_dir,
        (None, own) => own.and_then(|(dir, _)| dir),
    };
    keys.take("create", report, |text| if boolean(text)? { Err(CREATE.to_owned()) } else { Ok(()) });
    let read_only = keys.take("read-only", report, boolean).unwrap_or(false);
    let pack_gc = keys.take("pack-gc", report, boolean).unwrap_or(true);
    let pack_keep_old = keys.take("pack-keep-old", report, boolean).unwrap_or(true);
    keys.take("packer", report, |_| Ok(())); // an empty one is the default
    keys.finish(report);
    for inner in section.sections.iter().filter(|inner| !inner.kind.is_empty()) {
        let text = format!("{inner} cannot stand in {section}: is `</filestorage>` missing above it?");
        report.mistake(inner.place, text);
    }
    Some(FileStorageSection { name, path: path?, blob_dir, read_only, pack_gc, pack_keep_old })
}
