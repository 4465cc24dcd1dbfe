use std::io::Write;

use super::*;

fn store() -> (tempfile::TempDir, BlobStore) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = BlobStore::open(&root.path().join("blobs")).expect("a new directory");
    (root, store)
}

fn stage(store: &BlobStore, contents: &[u8]) -> StagedBlob {
    let (mut file, staged) = store.stage().expect("staged");
    file.write_all(contents).expect("written");
    staged
}

const OID: Oid = Oid::new(0x1234);
const TID: Tid = Tid::new(0x03f9_66f9_cf37_9aaa);

#[test]
fn a_new_directory_is_bushy_and_says_so() {
    let (_root, store) = store();
    assert_eq!(fs::read_to_string(store.root().join(".layout")).expect("the marker"), "bushy");
    let path = store.path(OID, TID);
    assert!(path.ends_with("0x00/0x00/0x00/0x00/0x00/0x00/0x12/0x34/0x03f966f9cf379aaa.blob"), "{path:?}");
}

#[test]
fn a_directory_in_use_without_a_marker_is_lawn() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(root.path().join("0x1234")).expect("made");
    let store = BlobStore::open(root.path()).expect("a directory of old");
    assert!(store.path(OID, TID).ends_with("0x1234/0x03f966f9cf379aaa.blob"));
}

#[test]
fn a_layout_that_nobody_knows_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::write(root.path().join(".layout"), "zeocache").expect("written");
    assert!(matches!(BlobStore::open(root.path()), Err(BlobError::UnknownLayout { .. })));
}

#[test]
fn a_placed_blob_is_read_only_and_stays_once_its_transaction_is_durable() {
    let (_root, store) = store();
    let placed = store.place(OID, TID, stage(&store, b"data")).expect("placed");
    placed.complete();
    let path = store.path(OID, TID);
    assert_eq!(fs::read(&path).expect("there"), b"data");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o222, 0);
    assert_eq!(fs::read_dir(&store.staging).expect("there").count(), 0);
}

#[test]
fn a_placed_blob_goes_when_its_transaction_fails() {
    let (_root, store) = store();
    drop(store.place(OID, TID, stage(&store, b"data")).expect("placed"));
    assert!(!store.path(OID, TID).exists());
}

#[test]
fn a_staged_blob_goes_with_its_transaction() {
    let (_root, store) = store();
    let path = stage(&store, b"data").path().to_owned();
    assert!(!path.exists());
}

#[test]
fn after_a_crash_blobs_of_transactions_that_are_not_in_the_log_go() {
    let (_root, store) = store();
    let lost = Tid::new(TID.get() + 1);
    for tid in [TID, lost] {
        std::mem::forget(store.place(OID, tid, stage(&store, b"data")).expect("placed"));
    }
    std::mem::forget(stage(&store, b"half an upload"));
    assert_eq!(store.recover(|tid| tid == TID).expect("recovered"), 1);
    assert!(store.path(OID, TID).exists());
    assert!(!store.path(OID, lost).exists());
    assert_eq!(fs::read_dir(&store.staging).expect("there").count(), 0);
}

/// A file of a client in the shared directory.
fn shared(store: &BlobStore, name: &str) -> PathBuf {
    fs::create_dir_all(store.directory(OID)).expect("made");
    let path = store.directory(OID).join(name);
    fs::write(&path, "data").expect("written");
    path
}

#[test]
fn a_file_that_a_client_shared_goes_with_its_transaction() {
    let (_root, store) = store();
    let path = shared(&store, "BUSHY1.tmp");
    drop(store.stage_shared(OID, "BUSHY1.tmp").expect("there"));
    assert!(!path.exists());
    assert_eq!(fs::read_dir(&store.staging).expect("there").count(), 0);
}

#[test]
fn after_a_crash_files_that_clients_shared_go_and_others_stay() {
    let (_root, store) = store();
    let (noted, placed) = (shared(&store, "BUSHY1.tmp"), shared(&store, "BUSHY2.tmp"));
    let other = shared(&store, "not told of.tmp");
    std::mem::forget(store.stage_shared(OID, "BUSHY1.tmp").expect("there"));
    let staged = store.stage_shared(OID, "BUSHY2.tmp").expect("there");
    store.place(OID, TID, staged).expect("placed").complete();
    fs::write(store.staging.join("cut-off.shared"), "").expect("written");
    assert_eq!(store.recover(|tid| tid == TID).expect("recovered"), 0);
    assert!(!noted.exists() && !placed.exists() && other.exists());
    assert_eq!(fs::read(store.path(OID, TID)).expect("there"), b"data");
    assert_eq!(fs::read_dir(&store.staging).expect("there").count(), 0);
}

#[test]
fn a_file_that_a_client_shared_has_to_be_there() {
    let (_root, store) = store();
    shared(&store, "BUSHY1.tmp");
    assert!(store.stage_shared(OID, "BUSHY2.tmp").is_err());
    std::os::unix::fs::symlink("BUSHY1.tmp", store.directory(OID).join("link.tmp")).expect("made");
    assert!(store.stage_shared(OID, "link.tmp").is_err());
    assert_eq!(fs::read_dir(&store.staging).expect("there").count(), 0);
}

#[test]
fn an_undo_gets_a_blob_of_its_own_with_the_same_contents() {
    let (_root, store) = store();
    store.place(OID, TID, stage(&store, b"data")).expect("placed").complete();
    let copy = store.stage_copy(OID, TID).expect("there");
    let undone = Tid::new(TID.get() + 1);
    store.place(OID, undone, copy).expect("placed").complete();
    assert_eq!(fs::read(store.path(OID, undone)).expect("there"), b"data");
    assert!(store.path(OID, TID).exists());
}
