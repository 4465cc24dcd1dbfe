use super::*;
use crate::{Checksum, NoProgress, Oid, OpenOptions, Storage, Tid};

struct Place {
    _folder: tempfile::TempDir,
    log: PathBuf,
    options: OpenOptions,
}

/// A closed storage with a blob, a saved lost file and a log of before a pack.
fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("Data.fs");
    let options = OpenOptions { blob_dir: Some(folder.path().join("blobs")), ..OpenOptions::default() };
    let (storage, _) = Storage::open(&log, &options, &NoProgress).expect("it opens");
    let lost = storage.lost_folder();
    storage.close().expect("closed");
    fs::create_dir(&lost).expect("made");
    fs::write(lost.join("some.fs"), b"lost").expect("written");
    fs::write(with_suffix(&log, ".old"), b"old").expect("written");
    fs::write(folder.path().join("blobs/a.blob"), b"blob").expect("written");
    crate::oids::keep(&log, Oid::new(77)).expect("noted");
    fs::write(folder.path().join("Data.fs"), b"FS30").expect("written");
    Place { _folder: folder, log, options }
}

fn check(place: &Place, to: &Path) {
    let (storage, report) = Storage::open(&place.log, &place.options, &NoProgress).expect("it opens");
    assert!(report.created, "nothing is left of the log");
    assert_eq!((storage.last_tid(), storage.checksum()), (Tid::ZERO, Checksum::ZERO));
    assert_eq!(storage.max_oid(), Oid::new(77));
    assert_eq!(fs::read(storage.lost_folder().join("some.fs")).expect("it stays"), b"lost");
    for name in ["Data.fs", "Data.fs.old", "Data.fs.standby/index.redb", "blobs/a.blob"] {
        assert!(to.join(name).exists(), "{name} was moved");
    }
    for name in ["Data.fs.old", "Data.fs.aside", "blobs/a.blob"] {
        assert!(!place.log.with_file_name(name).exists(), "{name} is gone");
    }
}

#[test]
fn a_copy_that_was_set_aside_is_whole_there_and_the_next_opening_begins_anew() {
    let place = place();
    let to = set_aside(&place.log, place.options.blob_dir.as_deref()).expect("moved");
    check(&place, &to);
}

#[test]
fn a_copy_in_use_is_not_set_aside() {
    let place = place();
    let (_storage, _) = Storage::open(&place.log, &place.options, &NoProgress).expect("it opens");
    let refused = set_aside(&place.log, None).expect_err("it is in use");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(place.log.exists());
}

#[test]
fn what_a_crash_left_of_setting_aside_is_completed_whatever_was_moved_already() {
    let folders = ["Data.fs", "Data.fs.old", "Data.fs.standby", "blobs"];
    for moved in 0..=folders.len() {
        let place = place();
        let to = with_suffix(&place.log, ".aside-1");
        fs::create_dir(&to).expect("made");
        let note = Note { to: to.clone(), blobs: place.options.blob_dir.clone() };
        note.write(&place.log).expect("written");
        for name in &folders[..moved] {
            fs::rename(place.log.with_file_name(name), to.join(name)).expect("moved");
        }
        check(&place, &to);
    }
}

#[test]
fn a_note_reads_back_as_it_was_written_and_not_when_a_byte_changed() {
    for blobs in [None, Some("blobs".into())] {
        let note = Note { to: "aside-1".into(), blobs };
        let bytes = note.encode().expect("short");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Note::decode(&changed), None, "byte {at}");
        }
        assert_eq!(Note::decode(&bytes), Some(note));
    }
}
