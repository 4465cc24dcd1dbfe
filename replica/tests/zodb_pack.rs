//! Packs held against ZODB's own of a copy, record by record, and the references in records against `referencesf`.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::packing::objects;
use common::{Site, place};
use replica::{
    NoProgress, Oid, OpenOptions, PackOptions, PackReport, ReferenceScanner, Storage, Tid, verify,
};

fn python() -> PathBuf {
    let python = std::env::var_os("STANDBY_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "{} is not there: these tests need a Python with ZODB; set STANDBY_PYTHON to it",
        python.display()
    );
    python
}

fn zodb(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zodb_pack.py");
    let output = Command::new(python()).arg(script).args(arguments).output().expect("python runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// Packs a copy with ZODB and the original with ours, and compares all there is.
fn compare(path: &Path, fraction: &str, gc: bool) -> PackReport {
    let copy = path.with_file_name("Copy.fs");
    std::fs::copy(path, &copy).expect("copied");
    let _ = std::fs::remove_file(path.with_file_name("Copy.fs.index"));
    let answer = zodb(&["pack", text(&copy), fraction, if gc { "1" } else { "0" }]);
    let until = Tid::new(u64::from_str_radix(answer.lines().next().expect("a tid"), 16).expect("a tid"));
    let (storage, _) = Storage::open(path, &OpenOptions::default(), &NoProgress).expect("it opens");
    let before = (storage.last_tid(), storage.checksum());
    let report = storage.pack(until, PackOptions { gc, keep_old: false }, &NoProgress).expect("it is packed");
    assert_eq!((storage.last_tid(), storage.checksum()), before, "the history is the same");
    let count = storage.object_count();
    storage.close().expect("it closes");

    let (ours, theirs) = (zodb(&["dump", text(path)]), zodb(&["dump", text(&copy)]));
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {number}, packed to {until}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "packed to {until}");

    let found = verify(path, &NoProgress).expect("it can be read");
    assert_eq!(found.problems, []);
    assert_eq!((found.last_tid, found.checksum), before);
    assert_eq!(found.objects, count);
    // An index made anew has the same values.
    std::fs::remove_file(path.with_file_name("Data.fs.standby").join("index.redb")).expect("there is one");
    let site = Site::open(path);
    assert_eq!((site.storage.last_tid(), site.storage.checksum()), before);
    assert_eq!(site.storage.object_count(), count);
    site.close();
    report
}

#[test]
fn a_pack_leaves_what_zodbs_own_leaves() {
    for seed in 1..=6 {
        let (_directory, path) = common::place();
        zodb(&["generate", text(&path), &seed.to_string(), "150", "400"]);
        compare_references(&path);
        let mut dropped = 0;
        for fraction in ["0.3", "0.3", "0.7", "1"] {
            let report = compare(&path, fraction, true);
            dropped += report.packed.map_or(0, |packed| packed.records_dropped);
        }
        assert!(dropped > 100, "seed {seed}: {dropped}");
    }
}

#[test]
fn without_garbage_collection_too() {
    let (_directory, path) = place();
    // Undo would make ZODB's pack fail, which then drops what later records point back to.
    zodb(&["generate", text(&path), "11", "100", "300"]);
    let (storage, _) = Storage::open(&path, &OpenOptions::default(), &NoProgress).expect("it opens");
    let (tid, before) = (storage.last_tid(), objects(&storage));
    let packed = storage.pack(tid, PackOptions { gc: false, keep_old: true }, &NoProgress).expect("packed");
    assert!(packed.packed.is_some_and(|packed| packed.records_dropped > 50));
    assert_eq!(objects(&storage), before);
    let again =
        storage.pack(tid, PackOptions { gc: false, keep_old: true }, &NoProgress).expect("it is well");
    assert_eq!(again.packed, None, "packed already");
    storage.close().expect("it closes");
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_objects_are_packed_as_zodb_packs_them() {
    let (_directory, path) = place();
    zodb(&["generate", text(&path), "7", "300", "100000"]);
    compare(&path, "0.6", true);
    compare(&path, "1", true);
}

#[test]
fn the_plone_site_is_packed_as_zodb_packs_it() {
    let shared = std::env::var_os("STANDBY_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let archive = shared.join("plone-site.tar.xz");
    if !archive.exists() {
        eprintln!("skipped: {} is not there", archive.display());
        return;
    }
    let (directory, path) = place();
    let unpacked = Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(directory.path()).status();
    assert!(unpacked.expect("tar runs").success());
    let found = find(directory.path(), "Data.fs").expect("a Data.fs in the archive");
    if found != path {
        std::fs::rename(found, &path).expect("moved");
    }
    for fraction in ["0.5", "1"] {
        compare_references(&path);
        compare(&path, fraction, true);
    }
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|of| of == name) {
            return Some(path);
        }
    }
    None
}

/// Our references in every record are those of `referencesf`.
fn compare_references(path: &Path) {
    let theirs = zodb(&["references", text(path)]);
    let (storage, _) = Storage::open(path, &OpenOptions::default(), &NoProgress).expect("it opens");
    let mut scanner = ReferenceScanner::new();
    let mut data = Vec::new();
    let mut count = 0;
    for line in theirs.lines() {
        let mut numbers = line
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| word.parse::<u64>().expect("a number"));
        let (oid, tid) = (Oid::new(numbers.next().expect("oid")), Tid::new(numbers.next().expect("tid")));
        storage
            .load_serial(oid, tid, &mut data)
            .or_else(|_| first_record(&storage, oid, tid, &mut data))
            .expect("there");
        let mut ours = Vec::new();
        scanner.scan(&data, |oid| ours.push(oid.get())).expect("a good record");
        assert_eq!(ours, numbers.collect::<Vec<_>>(), "{oid} {tid}");
        count += 1;
    }
    assert!(count > 100);
    storage.close().expect("it closes");
}

/// A record that the object's history does not lead to, since ZODB packed it.
fn first_record(storage: &Storage, oid: Oid, tid: Tid, data: &mut Vec<u8>) -> Result<(), replica::ReadError> {
    let mut transactions = storage.transactions(Some(tid), Some(tid))?;
    let header = transactions.next().expect("one")?;
    for record in transactions.records(&header) {
        let record = record?;
        if record.oid == oid {
            *data = record.data.unwrap_or_default();
        }
    }
    Ok(())
}
