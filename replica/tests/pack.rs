//! What a pack keeps and drops, what it refuses, and what crashes leave of it. That it keeps what ZODB's keeps is held
//! against ZODB in `zodb_pack.rs` and, blobs included, in `testbed/tests/pack.rs`.

mod common;

use std::path::Path;
use std::sync::Mutex;

use common::packing::{At, objects, pack, record};
use common::{Site, place};
use replica::{NoProgress, Oid, OpenOptions, PackError, PackOptions, PackStage, Tid, verify};

#[test]
fn without_a_root_object_nothing_is_packed() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    assert_eq!(site.storage.pack(Tid::MAX, PackOptions::default(), &NoProgress).expect("empty").packed, None);
    site.store(&[(1, &record(&[], "one"))]);
    let error = site.storage.pack(Tid::MAX, PackOptions::default(), &NoProgress).expect_err("no root");
    assert!(matches!(error, PackError::Missing { oid: Oid::ROOT, referrer: None }), "{error}");
    site.store(&[(0, &record(&[5], "root"))]);
    let error = site.storage.pack(Tid::MAX, PackOptions::default(), &NoProgress).expect_err("no object 5");
    let PackError::Missing { oid, referrer } = error else { panic!("{error}") };
    assert_eq!((oid, referrer), (Oid::new(5), Some(Oid::ROOT)));
    let last = site.store(&[(0, &record(&[], "root"))]);
    let packed = pack(&site, Tid::MAX);
    assert_eq!((packed.objects_after, site.storage.last_tid()), (1, last));
    assert_eq!(site.load(1), None);
    assert_eq!(site.load(0), Some(record(&[], "root")));
    site.close();
}

#[test]
fn a_damaged_record_is_named_and_nothing_changes() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[7], "root")), (7, b"no pickle")]);
    site.store(&[(0, &record(&[7], "root again"))]);
    let before = std::fs::read(&path).expect("the log");
    let error = site.storage.pack(Tid::MAX, PackOptions::default(), &NoProgress).expect_err("damaged");
    assert!(matches!(error, PackError::References { oid, .. } if oid == Oid::new(7)), "{error}");
    assert_eq!(std::fs::read(&path).expect("the log"), before);
    assert!(!path.with_file_name("Data.fs.pack").exists());
    assert!(!path.with_file_name("Data.fs.standby").join("index.redb.pack").exists());
    site.close();
}

#[test]
fn a_damaged_record_that_nothing_leads_to_is_in_nobodys_way() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[1], "root")), (1, &record(&[], "one")), (7, b"no pickle")]);
    let until = site.store(&[(1, &record(&[], "one again"))]);
    site.store(&[(8, b"no pickle either, and later than the pack time")]);
    assert_eq!(
        site.storage.pack(Tid::new(1), PackOptions::default(), &NoProgress).expect("nothing").packed,
        None
    );
    let packed = pack(&site, until);
    assert_eq!((packed.objects_before, packed.objects_after), (4, 3));
    assert_eq!((site.load(7), site.load(1)), (None, Some(record(&[], "one again"))));
    assert!(site.load(8).is_some());
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

/// Copies a folder as it is at this moment, as a process that is killed leaves it.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn a_crash_at_any_stage_leaves_a_storage_that_is_whole() {
    for keep_old in [true, false] {
        let (directory, path) = place();
        let crashed = tempfile::tempdir().expect("a folder");
        let options =
            OpenOptions { blob_dir: Some(directory.path().join("blobs")), ..OpenOptions::default() };
        let site = Site::open_with(&path, &options);
        let blob_class = b"\x80\x03cZODB.blob\nBlob\n.\x80\x03N.";
        site.store(&[(0, &record(&[1, 2], "root")), (1, &record(&[], "one"))]);
        let mut tids = Vec::new();
        for number in 0..5u8 {
            let mut transaction = site.begin();
            transaction.store(Oid::new(2), blob_class).expect("collected");
            let (mut file, staged) = site.storage.blobs().expect("blobs").stage().expect("staged");
            std::io::Write::write_all(&mut file, &[number; 1000]).expect("written");
            transaction.attach_blob(Oid::new(2), staged);
            tids.push(site.commit(transaction));
            site.store(&[(3, &record(&[], "garbage")), (1, &record(&[], &number.to_string()))]);
        }
        let before = (site.storage.last_tid(), site.storage.checksum());
        let stages = Mutex::new(Vec::new());
        let progress = At(|stage| {
            let mut stages = stages.lock().expect("stages");
            if stages.last() != Some(&stage) {
                copy_folder(directory.path(), &crashed.path().join(stages.len().to_string()));
                stages.push(stage);
            }
        });
        let report =
            site.storage.pack(before.0, PackOptions { gc: true, keep_old }, &progress).expect("packed");
        let packed = report.packed.expect("something");
        assert_eq!((packed.blobs_removed, packed.objects_after), (4, 3));
        let expected = objects(&site.storage);
        site.close();
        let stages = stages.into_inner().expect("stages");
        assert!(stages.contains(&PackStage::Complete) && stages.contains(&PackStage::Renamed), "{stages:?}");
        for (number, stage) in stages.iter().enumerate() {
            let folder = crashed.path().join(number.to_string());
            let path = folder.join("Data.fs");
            let options = OpenOptions { blob_dir: Some(folder.join("blobs")), ..OpenOptions::default() };
            let site = Site::open_with(&path, &options);
            let after = (site.storage.last_tid(), site.storage.checksum());
            assert_eq!(after, before, "{stage:?}");
            let mut found = objects(&site.storage);
            let switched =
                matches!(stage, PackStage::Renamed | PackStage::Switched | PackStage::RemovingBlobs);
            assert_eq!(found.remove(&Oid::new(3)).is_none(), switched, "{stage:?}");
            assert_eq!(found, expected, "{stage:?}");
            let blobs = site.storage.blobs().expect("blobs");
            for (number, tid) in tids.iter().enumerate() {
                let there = blobs.path(Oid::new(2), *tid).exists();
                assert_eq!(there, !switched || number == 4, "{stage:?}: blob {number}");
            }
            for leftover in ["Data.fs.pack", "Data.fs.standby/index.redb.pack", "Data.fs.standby/anchor.pack"]
            {
                assert!(!folder.join(leftover).exists(), "{stage:?}: {leftover}");
            }
            // It goes on from there.
            site.store(&[(1, &record(&[], "later"))]);
            let until = site.storage.last_tid();
            site.storage.pack(until, PackOptions::default(), &NoProgress).expect("packed again");
            site.close();
            assert_eq!(verify(&path, &NoProgress).expect("readable").problems, [], "{stage:?}");
        }
    }
}

#[test]
fn a_log_that_was_between_its_two_names_is_put_back() {
    let (directory, path) = place();
    let site = Site::open(&path);
    site.store(&[(0, &record(&[], "root"))]);
    let checksum = site.storage.checksum();
    site.close();
    std::fs::rename(&path, directory.path().join("Data.fs.old")).expect("renamed");
    std::fs::write(directory.path().join("Data.fs.pack"), "FS30 not finished").expect("written");
    let site = Site::open(&path);
    assert_eq!(site.storage.checksum(), checksum);
    assert!(!directory.path().join("Data.fs.pack").exists());
    site.close();
}

/// Some history, of which a pack to the returned transaction drops something.
fn history(site: &Site) -> Tid {
    site.store(&[(0, &record(&[1], "root")), (1, &record(&[], "one")), (9, &record(&[], "garbage"))]);
    let middle = site.store(&[(1, &record(&[], "one again"))]);
    site.store(&[(0, &record(&[1], "root again"))]);
    middle
}

fn standby_file(log: &Path, name: &str) -> std::path::PathBuf {
    log.with_file_name("Data.fs.standby").join(name)
}

#[test]
fn checksums_after_the_pack_time_are_not_changed_by_a_pack() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let middle = history(&site);
    let before = site.storage.checksum();
    pack(&site, middle);
    assert_eq!(site.storage.checksum(), before);
    site.store(&[(1, &record(&[], "later"))]);
    let later = site.storage.checksum();
    pack(&site, Tid::MAX);
    assert_eq!(site.storage.checksum(), later);
    site.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").checksum, later);
    std::fs::remove_file(standby_file(&path, "index.redb")).expect("an index");
    let site = Site::open(&path);
    assert_eq!(site.storage.checksum(), later, "with an index that was made anew");
    site.close();
}

#[test]
fn two_copies_that_were_packed_to_one_time_agree() {
    let (directory, path) = place();
    let site = Site::open(&path);
    let middle = history(&site);
    site.close();
    let other = directory.path().join("other");
    std::fs::create_dir(&other).expect("a folder");
    let other = other.join("Data.fs");
    std::fs::copy(&path, &other).expect("copied");
    let sites = [Site::open(&path), Site::open(&other)];
    for site in &sites {
        pack(site, middle);
        let mut transaction = site.begin();
        transaction.set_tid(site.storage.last_tid().next());
        transaction.store(Oid::new(1), &record(&[], "later")).expect("collected");
        site.commit(transaction);
    }
    assert_eq!(sites[0].storage.checksum(), sites[1].storage.checksum());
    for site in sites {
        site.close();
    }
    let anchors = [&path, &other].map(|path| std::fs::read(standby_file(path, "anchor")).expect("an anchor"));
    assert_eq!(anchors[0], anchors[1]);
    assert_eq!(std::fs::read(&path).expect("a log"), std::fs::read(&other).expect("a log"));
}

#[test]
fn a_storage_that_lost_its_anchor_serves_on() {
    let (_directory, path) = place();
    let site = Site::open(&path);
    let middle = history(&site);
    pack(&site, middle);
    let (before, there) = (site.storage.checksum(), objects(&site.storage));
    site.close();
    std::fs::remove_dir_all(path.with_file_name("Data.fs.standby")).expect("removed");
    let site = Site::open(&path);
    assert_ne!(site.storage.checksum(), before, "it cannot be known any more");
    assert_eq!(objects(&site.storage), there);
    site.store(&[(1, &record(&[], "later"))]);
    pack(&site, Tid::MAX);
    let now = site.storage.checksum();
    site.close();
    let found = verify(&path, &NoProgress).expect("readable");
    assert_eq!((found.problems, found.checksum), (vec![], now));
}

#[test]
fn a_log_that_was_restored_from_elsewhere_does_not_get_the_anchor_of_another() {
    let (directory, path) = place();
    let site = Site::open(&path);
    let middle = history(&site);
    let unpacked = site.storage.checksum();
    pack(&site, middle);
    site.store(&[(1, &record(&[], "later"))]);
    site.close();
    let anchor = std::fs::read(standby_file(&path, "anchor")).expect("an anchor");

    // The log as it was before the pack.
    std::fs::copy(directory.path().join("Data.fs.old"), &path).expect("restored");
    let site = Site::open(&path);
    assert_eq!(site.storage.checksum(), unpacked);
    site.close();

    // One with another history, packed, that never saw the anchor.
    let other = tempfile::tempdir().expect("a folder");
    let other_path = other.path().join("Data.fs");
    let site = Site::open(&other_path);
    history(&site);
    pack(&site, Tid::MAX);
    site.close();
    std::fs::remove_dir_all(standby_file(&other_path, "")).expect("removed");
    let site = Site::open(&other_path);
    let without = site.storage.checksum();
    site.close();
    std::fs::remove_file(standby_file(&other_path, "index.redb")).expect("an index");
    std::fs::write(standby_file(&other_path, "anchor"), anchor).expect("written");
    let site = Site::open(&other_path);
    assert_eq!(site.storage.checksum(), without);
    site.close();
}
