//! A small site, as ZODB would write it: pages in a BTree, and files as blobs.

use std::path::Path;

use anyhow::{Context, Result};
use replica::BlobStore;
use zodb_types::{Oid, Tid};

use crate::datafile::DataFile;

const PAGES: u64 = 400;
const FILES: u64 = 20;
/// Entries in one bucket of a BTree.
const BUCKET: u64 = 30;

const SITE: Oid = Oid::new(1);
const PAGE_TREE: Oid = Oid::new(2);
const FILE_TREE: Oid = Oid::new(3);
/// Where the oids of pages, files, and the buckets of both begin.
const FIRST_PAGE: u64 = 1_000;
const FIRST_FILE: u64 = 2_000;
const FIRST_PAGE_BUCKET: u64 = 3_000;
const FIRST_FILE_BUCKET: u64 = 4_000;

const MAPPING: Class = Class("persistent.mapping", "PersistentMapping");
const TREE: Class = Class("BTrees.OOBTree", "OOBTree");
const BUCKET_OF_TREE: Class = Class("BTrees.OOBTree", "OOBucket");
const BLOB: Class = Class("ZODB.blob", "Blob");

/// Makes the site: a `Data.fs`, and its blobs.
///
/// # Errors
/// The files are there already, or cannot be written.
pub fn make(data: &Path, blobs: &Path) -> Result<()> {
    let mut file = DataFile::create(data)?;
    let store = BlobStore::open(blobs)?;
    file.transaction([
        (Oid::ROOT, mapping(&[("site", Is::Object(SITE, MAPPING))])),
        (
            SITE,
            mapping(&[
                ("title", Is::Text("A small site")),
                ("pages", Is::Object(PAGE_TREE, TREE)),
                ("files", Is::Object(FILE_TREE, TREE)),
            ]),
        ),
    ])?;
    let pages: Vec<_> = (0..PAGES).map(|number| (Oid::new(FIRST_PAGE + number), page(number, 1))).collect();
    file.transaction(pages)?;
    file.transaction(tree("page", PAGES, PAGE_TREE, FIRST_PAGE_BUCKET, FIRST_PAGE, MAPPING))?;
    // Some were edited since.
    for number in (0..PAGES).step_by(7) {
        file.transaction([(Oid::new(FIRST_PAGE + number), page(number, 2))])?;
    }
    let files: Vec<Oid> = (0..FILES).map(|number| Oid::new(FIRST_FILE + number)).collect();
    let tid = file.transaction(files.iter().map(|oid| (*oid, blob())))?;
    for (oid, number) in files.iter().zip(0..) {
        upload(&store, *oid, tid, number)?;
    }
    file.transaction(tree("file", FILES, FILE_TREE, FIRST_FILE_BUCKET, FIRST_FILE, BLOB))?;
    file.finish()
}

fn page(number: u64, version: u64) -> Vec<u8> {
    let text = format!("This is page {number}, version {version}. ").repeat(5 + (number % 40) as usize);
    let title = format!("Page {number}");
    mapping(&[("title", Is::Text(&title)), ("text", Is::Text(&text))])
}

/// Writes the file of a blob: 10 to 200 KB.
fn upload(store: &BlobStore, oid: Oid, tid: Tid, number: u64) -> Result<()> {
    let path = store.path(oid, tid);
    std::fs::create_dir_all(path.parent().context("a blob lies in a folder")?)?;
    let content = format!("file {number}, line by line\n").repeat(500 * (1 + number as usize % 16));
    Ok(std::fs::write(path, content)?)
}

/// A tree of so many entries, and its buckets, in which `page 007` leads to the object `first` + 7.
fn tree(word: &str, count: u64, tree: Oid, buckets: u64, first: u64, class: Class) -> Vec<(Oid, Vec<u8>)> {
    let key = |number: u64| format!("{word} {number:03}");
    let begins: Vec<u64> = (0..count).step_by(BUCKET as usize).collect();
    let bucket = |place: usize| Is::Object(Oid::new(buckets + place as u64), BUCKET_OF_TREE);
    let mut records = Vec::new();
    let mut state = Pickle::state();
    state.begin_tuple().begin_tuple();
    for (place, begin) in begins.iter().enumerate() {
        if place > 0 {
            state.text(&key(*begin));
        }
        state.value(&bucket(place));
        let mut entries = Pickle::state();
        entries.begin_tuple().begin_tuple();
        for number in *begin..count.min(begin + BUCKET) {
            entries.text(&key(number)).value(&Is::Object(Oid::new(first + number), class));
        }
        entries.end_tuple();
        if place + 1 < begins.len() {
            entries.value(&bucket(place + 1));
        }
        entries.end_tuple();
        records.push((Oid::new(buckets + place as u64), entries.record(BUCKET_OF_TREE)));
    }
    state.end_tuple().value(&bucket(0)).end_tuple();
    records.push((tree, state.record(TREE)));
    records
}

/// A `PersistentMapping` with these entries.
fn mapping(entries: &[(&str, Is<'_>)]) -> Vec<u8> {
    let mut state = Pickle::state();
    state.begin_dict().text("data").begin_dict();
    for (key, value) in entries {
        state.text(key).value(value);
    }
    state.end_dict().end_dict();
    state.record(MAPPING)
}

/// A `Blob`, whose content is in a file.
fn blob() -> Vec<u8> {
    let mut state = Pickle::state();
    state.none();
    state.record(BLOB)
}

/// A class: its module and its name.
#[derive(Clone, Copy, Debug)]
struct Class(&'static str, &'static str);

/// A value in a record.
#[derive(Clone, Copy, Debug)]
enum Is<'a> {
    Text(&'a str),
    Object(Oid, Class),
}

/// A pickle in the making, in protocol 3.
#[derive(Debug)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn state() -> Self {
        Self(b"\x80\x03".to_vec())
    }

    /// The record of an object: the pickle of its class, then this.
    fn record(mut self, Class(module, name): Class) -> Vec<u8> {
        self.0.push(b'.');
        let mut record = b"\x80\x03".to_vec();
        record.extend_from_slice(format!("c{module}\n{name}\n.").as_bytes());
        record.append(&mut self.0);
        record
    }

    fn none(&mut self) -> &mut Self {
        self.0.push(b'N');
        self
    }

    fn begin_tuple(&mut self) -> &mut Self {
        self.0.push(b'(');
        self
    }

    fn end_tuple(&mut self) -> &mut Self {
        self.0.push(b't');
        self
    }

    fn begin_dict(&mut self) -> &mut Self {
        self.0.extend_from_slice(b"}(");
        self
    }

    fn end_dict(&mut self) -> &mut Self {
        self.0.push(b'u');
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.push(b'X');
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn value(&mut self, value: &Is<'_>) -> &mut Self {
        match value {
            Is::Text(text) => self.text(text),
            Is::Object(oid, Class(module, name)) => {
                self.0.extend_from_slice(b"C\x08");
                self.0.extend_from_slice(&oid.to_bytes());
                self.0.extend_from_slice(format!("c{module}\n{name}\n").as_bytes());
                self.0.extend_from_slice(b"\x86Q");
                self
            }
        }
    }
}
