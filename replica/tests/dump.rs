//! Listing a log, and parts of it.

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Site, place};
use replica::{Dump, DumpRange, DumpedRecord, NoProgress, Oid, OpenError, ReadError, Tid};

const CLASS: &[u8] = b"\x80\x03capp.models\nPage\nq\0.\x80\x03}q\x01.";
const BLOB: &[u8] = b"\x80\x03cZODB.blob\nBlob\nq\0.N.";

/// Transactions with the oids of their records.
fn dump(path: &Path, range: DumpRange) -> Vec<(Tid, Vec<u64>)> {
    let mut dump = Dump::open(path, range, &NoProgress).expect("a log");
    let mut listed = Vec::new();
    while let Some(header) = dump.next_transaction().expect("readable") {
        let oids = dump.records().map(|record| record.expect("readable").oid.get()).collect();
        listed.push((header.tid, oids));
    }
    listed
}

/// Ten transactions: each writes object 1 and one of its own.
fn ten(site: &Site) -> Vec<Tid> {
    (10..20).map(|oid| site.store(&[(1, CLASS), (oid, CLASS)])).collect()
}

#[test]
fn every_transaction_is_listed_with_every_record() {
    let (_place, path) = place();
    let site = Site::open(&path);
    let tids = ten(&site);
    let expected: Vec<_> = tids.iter().zip(10..).map(|(tid, oid)| (*tid, vec![1, oid])).collect();
    assert_eq!(dump(&path, DumpRange::default()), expected, "beside the storage that has it open");
    site.close();
    assert_eq!(dump(&path, DumpRange::default()), expected);
}

#[test]
fn a_range_is_found_from_either_end() {
    let (_place, path) = place();
    let site = Site::open(&path);
    let tids = ten(&site);
    site.close();
    let ranges = [
        (DumpRange { from: Some(tids[3]), ..DumpRange::default() }, 3..10),
        (DumpRange { from: Some(tids[3].next()), to: Some(tids[5]), ..DumpRange::default() }, 4..6),
        (DumpRange { to: Some(tids[2]), ..DumpRange::default() }, 0..3),
        (DumpRange { last: Some(2), ..DumpRange::default() }, 8..10),
        (DumpRange { last: Some(2), to: Some(tids[4]), ..DumpRange::default() }, 3..5),
        (DumpRange { last: Some(5), from: Some(tids[8]), ..DumpRange::default() }, 8..10),
        (DumpRange { last: Some(99), ..DumpRange::default() }, 0..10),
        (DumpRange { last: Some(0), ..DumpRange::default() }, 0..0),
        (DumpRange { from: Some(Tid::MAX), ..DumpRange::default() }, 0..0),
    ];
    let listed = |range| dump(&path, range).into_iter().map(|(tid, _)| tid).collect::<Vec<_>>();
    for (range, expected) in ranges.clone() {
        assert_eq!(listed(range), tids[expected], "{range:?}");
    }
    // An unfinished end hides the last transaction from who comes from there.
    File::options()
        .append(true)
        .open(&path)
        .expect("the log")
        .write_all(&tids[9].next().to_bytes())
        .expect("written");
    for (range, expected) in ranges {
        assert_eq!(listed(range), tids[expected], "{range:?}, with an unfinished end");
    }
}

#[test]
fn one_object_is_followed_through_the_log() {
    let (_place, path) = place();
    let site = Site::open(&path);
    let tids = ten(&site);
    let again = site.store(&[(12, CLASS), (13, CLASS)]);
    let of = |oid, last| dump(&path, DumpRange { oid: Some(Oid::new(oid)), last, ..DumpRange::default() });
    assert_eq!(of(12, None), [(tids[2], vec![12]), (again, vec![12])]);
    assert_eq!(of(12, Some(1)), [(again, vec![12])]);
    assert_eq!(of(1, Some(1)), [(tids[9], vec![1])]);
    assert_eq!(of(99, None), []);
    site.close();
}

#[test]
fn a_record_says_its_class_and_what_it_points_back_to() {
    let (_place, path) = place();
    let site = Site::open(&path);
    let first = site.store(&[(1, CLASS)]);
    let long = [&b"\x80\x03X\x00\x04\0\0"[..], &[b'm'; 1024], b"X\x01\0\0\0N\x86N\x86.N."].concat();
    let second = site.store(&[(1, &long), (2, b"no pickle"), (3, BLOB)]);
    site.undo(second);
    let mut dump = Dump::open(&path, DumpRange::default(), &NoProgress).expect("a log");
    let mut records = Vec::new();
    while dump.next_transaction().expect("readable").is_some() {
        records.push(dump.records().collect::<Result<Vec<_>, _>>().expect("readable"));
    }
    let shown =
        |record: &DumpedRecord| (record.size, record.class.clone(), record.data_tid, record.is_blob());
    let page = Some("app.models.Page".to_owned());
    assert_eq!(shown(&records[0][0]), (Some(CLASS.len() as u64), page.clone(), None, false));
    let longest = Some(format!("{}.N", "m".repeat(1024)));
    assert_eq!(shown(&records[1][0]), (Some(long.len() as u64), longest, None, false));
    assert_eq!(shown(&records[1][1]), (Some(9), None, None, false));
    assert_eq!(
        shown(&records[1][2]),
        (Some(BLOB.len() as u64), Some("ZODB.blob.Blob".to_owned()), None, true)
    );
    assert_eq!(shown(&records[2][0]), (Some(CLASS.len() as u64), page, Some(first), false));
    assert_eq!(shown(&records[2][1]), (None, None, None, false), "its creation is undone");
    site.close();
}

#[test]
fn an_unfinished_end_is_told_and_damage_is_an_error() {
    let (_place, path) = place();
    let site = Site::open(&path);
    let tids = ten(&site);
    site.close();
    let log = File::options().read(true).write(true).open(&path).expect("the log");
    let size = log.metadata().expect("its size").len();
    log.set_len(size - 5).expect("cut off");
    let mut dump = Dump::open(&path, DumpRange::default(), &NoProgress).expect("a log");
    let mut listed = Vec::new();
    while let Some(header) = dump.next_transaction().expect("readable") {
        listed.push(header);
    }
    let last = listed.last().expect("nine");
    assert_eq!((listed.len(), last.tid), (9, tids[8]));
    assert_eq!(dump.unfinished_bytes(), size - 5 - (last.position + last.length + 8));
    assert!(!dump.is_in_use());

    // A status that no transaction has, in the fifth.
    log.write_all_at(b"x", listed[4].position + 16).expect("written");
    let mut dump = Dump::open(&path, DumpRange::default(), &NoProgress).expect("a log");
    for tid in &tids[..4] {
        assert_eq!(dump.next_transaction().expect("readable").map(|header| header.tid), Some(*tid));
    }
    let error = dump.next_transaction().expect_err("damaged");
    assert!(
        matches!(error, ReadError::Corrupt { position, .. } if position == listed[4].position),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let (place, path) = place();
    let refused = |path: &Path| match Dump::open(path, DumpRange::default(), &NoProgress).map(|_| ()) {
        Err(ReadError::Open(error)) => *error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(&path), OpenError::Missing(_)));
    std::fs::write(&path, "%PDF-1.7").expect("written");
    assert!(matches!(refused(&path), OpenError::NotFileStorage { .. }));
    std::fs::write(&path, "").expect("written");
    assert_eq!(dump(&path, DumpRange { last: Some(1), ..DumpRange::default() }), []);
    std::fs::write(&path, "FS30").expect("written");
    assert_eq!(dump(&path, DumpRange { last: Some(1), ..DumpRange::default() }), []);
    std::fs::write(&path, "FS30 and eight bytes").expect("written");
    assert_eq!(dump(&path, DumpRange { last: Some(1), ..DumpRange::default() }), []);
    drop(place);
}
