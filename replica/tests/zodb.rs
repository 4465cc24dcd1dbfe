//! Side by side with ZODB's own FileStorage, in Python. What either writes, the other must read alike.
//!
//! Needs a Python with ZODB 6: name it in `STANDBY_PYTHON`, or make `target/venv` in the workspace.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Site, place};
use replica::{IndexSource, NoProgress, Oid, OpenOptions, ReadError, ReadMode, Storage, Tid, verify};

fn python(what: &str, path: &Path) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = match std::env::var_os("STANDBY_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => here.join("../target/venv/bin/python"),
    };
    assert!(
        interpreter.exists(),
        "these tests need a Python with ZODB: set STANDBY_PYTHON, or run \
         `python3 -m venv target/venv && target/venv/bin/pip install ZODB==6.4` in the workspace"
    );
    let output = Command::new(interpreter)
        .arg(here.join("tests/zodb.py"))
        .arg(what)
        .arg(path)
        .output()
        .expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text");
        text
    })
}

fn digest(data: Option<&[u8]>) -> String {
    let Some(data) = data else { return "None".into() };
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    format!("{}:{:08x}", data.len(), b << 16 | a)
}

fn optional(tid: Option<Tid>) -> String {
    tid.map_or("None".into(), |tid| tid.to_string())
}

/// What `zodb.py dump` prints.
fn dump(storage: &Storage) -> String {
    let mut text = String::new();
    let size = storage.size_bytes();
    writeln!(text, "N {} {} {size}", storage.object_count(), storage.last_tid()).expect("text");
    let mut revisions: BTreeMap<Oid, BTreeSet<Tid>> = BTreeMap::new();
    for header in storage.transactions(None, None).expect("readable") {
        let header = header.expect("readable");
        let (status, user) = (header.status as char, hex(&header.user));
        let (description, extension) = (hex(&header.description), hex(&header.extension));
        writeln!(text, "T {} {status} {user} {description} {extension}", header.tid).expect("text");
        for record in storage.records(&header) {
            let record = record.expect("readable");
            let (oid, data) = (hex(&record.oid.to_bytes()), digest(record.data.as_deref()));
            writeln!(text, "R {oid} {} {data} {}", record.serial, optional(record.data_tid)).expect("text");
            revisions.entry(record.oid).or_default().insert(record.serial);
        }
    }
    let mut data = Vec::new();
    for (oid, tids) in revisions {
        for tid in tids.into_iter().chain([Tid::MAX]) {
            let found = match storage.load_before(oid, tid, ReadMode::MayBlock, &mut data) {
                Ok(None) => "None".into(),
                Ok(Some(revision)) => {
                    format!("{} {} {}", digest(Some(&data)), revision.serial, optional(revision.end))
                }
                Err(ReadError::NotFound(_)) => "KeyError".into(),
                Err(error) => panic!("{error}"),
            };
            writeln!(text, "L {} {tid} {found}", hex(&oid.to_bytes())).expect("text");
        }
        write!(text, "H {}", hex(&oid.to_bytes())).expect("text");
        for entry in storage.history(oid, 1000).expect("readable") {
            write!(text, " {}/{}", entry.transaction.tid, entry.size).expect("text");
        }
        text.push('\n');
    }
    text.push('U');
    for header in storage.undo_log(0, 100_000, &mut |_| true).expect("readable") {
        write!(text, " {}", header.tid).expect("text");
    }
    text.push('\n');
    text
}

#[track_caller]
fn assert_read_alike(storage: &Storage) {
    let (ours, theirs) = (dump(storage), python("dump", storage.path()));
    for (line, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {line}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
}

fn write_all_kinds(site: &Site) {
    let first = site.store(&[(0, b"root"), (1, b"one"), (2, b"two"), (3, b"three")]);
    let second = site.store(&[(1, b"one changed"), (3, b"three changed")]);
    let third = site.store(&[(1, b"changed again")]);
    let mut transaction = site.begin();
    transaction.set_metadata(b"u", b"undo of two", b"").expect("short");
    site.storage.undo(third, &mut transaction).expect("undoable");
    site.storage.undo(second, &mut transaction).expect("undoable");
    site.commit(transaction);
    let mut transaction = site.begin();
    transaction.delete(Oid::new(2)).expect("collected");
    transaction.store_as(Oid::new(3), second).expect("collected");
    transaction.store(Oid::new(4), &[4; 70_000]).expect("collected");
    site.commit(transaction);
    site.commit(site.begin());
    let added = site.store(&[(5, b"short-lived")]);
    let undoing = site.undo(added);
    site.undo(undoing);
    let mut transaction = site.begin();
    transaction
        .set_metadata(b"", "\u{fc}".as_bytes(), b"\x80\x03}q\x00X\x01\x00\x00\x00aq\x01K\x01s.")
        .expect("short");
    transaction.set_tid(Tid::new(site.storage.last_tid().get() + 5000));
    transaction.store_as(Oid::new(1), first).expect("collected");
    site.commit(transaction);
}

fn verify_clean(path: &Path) {
    assert_eq!(verify(path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn a_file_that_zodb_wrote_is_read_alike() {
    let (_directory, path) = place();
    python("write", &path);
    let site = Site::open(&path);
    assert_read_alike(&site.storage);
    site.close();
    verify_clean(&path);
}

#[test]
fn a_file_that_we_wrote_is_read_alike_and_written_on_by_zodb_and_by_us() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    write_all_kinds(&site);
    assert_read_alike(&site.storage);
    site.close();

    python("undo-last", &path);
    python("write", &path);
    let site = Site::open(&path);
    assert_eq!(site.report.index, IndexSource::File, "the index that is behind is brought up");
    assert!(site.report.scanned_bytes > 0);
    write_all_kinds(&site);
    assert_read_alike(&site.storage);
    site.close();
    verify_clean(&path);
}

#[test]
fn what_a_rewind_leaves_and_what_it_saves_are_read_alike() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    write_all_kinds(&site);
    let old = site.store(&[(1, b"before the fork")]);
    let fork = site.store(&[(1, b"the last before the fork"), (2, b"two"), (6, b"six")]);
    write_all_kinds(&site);
    let mut transaction = site.begin();
    transaction.store_as(Oid::new(1), old).expect("collected");
    transaction.delete(Oid::new(6)).expect("collected");
    site.commit(transaction);
    site.undo(site.storage.last_tid());

    let report = site.storage.rewind(fork, &site.storage.lost_folder(), &NoProgress).expect("rewound");
    assert_read_alike(&site.storage);
    let saved = report.saved_to.expect("something is lost");
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let (lost, _) = Storage::open(&saved, &options, &NoProgress).expect("it opens");
    assert_read_alike(&lost);
    drop(lost);
    write_all_kinds(&site);
    assert_read_alike(&site.storage);
    site.close();
    verify_clean(&path);
}

#[test]
fn a_file_that_zodb_packed_gets_a_new_index() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    write_all_kinds(&site);
    site.close();
    python("pack", &path);
    let site = Site::open(&path);
    assert_eq!(site.report.index, IndexSource::Rebuilt);
    assert_read_alike(&site.storage);
    write_all_kinds(&site);
    assert_read_alike(&site.storage);
    site.close();
    verify_clean(&path);
}

#[test]
fn zodb_and_we_keep_each_other_out() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let failed = std::panic::catch_unwind(|| python("write", &path)).expect_err("it is locked");
    let message = failed.downcast_ref::<String>().expect("a message");
    assert!(message.contains("LockError"), "{message}");
    site.close();
    python("write", &path);
}

/// The database of a site made by Plone: name the file in `STANDBY_PLONE_DATA_FS`.
#[test]
#[ignore = "needs a large file: STANDBY_PLONE_DATA_FS=... cargo test -- --ignored"]
fn a_plone_site_is_read_alike() {
    let source = std::env::var_os("STANDBY_PLONE_DATA_FS").expect("STANDBY_PLONE_DATA_FS names a Data.fs");
    let (_directory, path) = place();
    std::fs::copy(source, &path).expect("it can be copied");
    let (storage, report) = Storage::open(&path, &OpenOptions::default(), &NoProgress).expect("it opens");
    assert_eq!(report.cut, None);
    assert_read_alike(&storage);
    storage.close().expect("it closes");
    verify_clean(&path);
}
