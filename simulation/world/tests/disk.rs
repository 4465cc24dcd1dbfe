//! What a disk keeps, and what it forgets.

use std::io::Write;
use std::os::unix::fs::FileExt;

use simulated_world::{Disk, fs};

/// A fresh world for one test: each runs on a thread of its own.
fn disk() -> Disk {
    Disk::at("/disk")
}

fn nothing_survives(_: u64) -> u64 {
    0
}

fn restart(disk: &Disk, mut random: impl FnMut(u64) -> u64) {
    disk.crash(&mut random);
    disk.start();
}

fn seeded(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |end| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    }
}

#[test]
fn what_was_synced_is_there_after_a_crash_and_the_rest_need_not_be() {
    let disk = disk();
    let mut file = fs::File::create("/disk/log").expect("made");
    file.write_all(b"kept").expect("written");
    file.sync_data().expect("synced");
    fs::File::open("/disk").expect("the folder").sync_all().expect("synced");
    file.write_all(b" and not kept").expect("written");
    fs::write("/disk/other", "x").expect("written");
    restart(&disk, nothing_survives);
    assert_eq!(fs::read("/disk/log").expect("there"), b"kept");
    assert!(!fs::exists("/disk/other").expect("on"));
}

#[test]
fn a_file_whose_name_was_not_synced_is_gone() {
    let disk = disk();
    let file = fs::File::create("/disk/log").expect("made");
    file.sync_all().expect("synced");
    restart(&disk, nothing_survives);
    assert!(!fs::exists("/disk/log").expect("on"));
}

#[test]
fn of_a_rename_within_a_folder_either_name_is_there_after_a_crash() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let disk = disk();
        fs::write("/disk/a", "content").expect("written");
        fs::File::open("/disk/a").expect("there").sync_all().expect("synced");
        fs::File::open("/disk").expect("the folder").sync_all().expect("synced");
        fs::rename("/disk/a", "/disk/b").expect("renamed");
        restart(&disk, seeded(seed));
        let there = [fs::exists("/disk/a"), fs::exists("/disk/b")].map(|there| there.expect("on"));
        assert_ne!(there[0], there[1], "seed {seed}");
        old += u32::from(there[0]);
        new += u32::from(there[1]);
        assert_eq!(fs::read(if there[0] { "/disk/a" } else { "/disk/b" }).expect("there"), b"content");
    }
    assert!(old > 0 && new > 0, "{old} {new}");
}

#[test]
fn whoever_has_a_file_open_reads_it_under_any_name_and_none() {
    let _disk = disk();
    fs::write("/disk/a", "first").expect("written");
    let file = fs::File::open("/disk/a").expect("there");
    fs::rename("/disk/a", "/disk/b").expect("renamed");
    fs::write("/disk/a", "second").expect("written");
    fs::remove_file("/disk/b").expect("removed");
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert_eq!(&bytes, b"first");
}

#[test]
fn writes_that_were_not_synced_are_torn_at_sectors_and_in_any_order() {
    let (mut torn, mut out_of_order) = (false, false);
    for seed in 0..200 {
        let disk = disk();
        let file = fs::File::create("/disk/log").expect("made");
        file.set_len(4096).expect("grown");
        file.sync_all().expect("synced");
        fs::File::open("/disk").expect("the folder").sync_all().expect("synced");
        file.write_all_at(&[1; 2048], 0).expect("written");
        file.write_all_at(&[2; 2048], 2048).expect("written");
        restart(&disk, seeded(seed));
        let content = fs::read("/disk/log").expect("there");
        assert_eq!(content.len(), 4096);
        for (at, sector) in content.chunks(512).enumerate() {
            let wrote = if at < 4 { 1 } else { 2 };
            assert!(
                sector.iter().all(|byte| *byte == sector[0]) && [0, wrote].contains(&sector[0]),
                "seed {seed}"
            );
        }
        let survived: Vec<_> = content.chunks(512).map(|sector| sector[0] != 0).collect();
        torn |= survived[0] != survived[3];
        out_of_order |= survived.windows(2).any(|pair| !pair[0] && pair[1]);
    }
    assert!(torn && out_of_order, "{torn} {out_of_order}");
}

#[test]
fn nothing_can_be_done_with_a_disk_that_is_off_nor_with_what_was_open_before() {
    let disk = disk();
    let file = fs::File::create("/disk/log").expect("made");
    fs::File::open("/disk").expect("the folder").sync_all().expect("synced");
    file.try_lock().expect("nobody has it");
    disk.kill();
    assert!(fs::read("/disk/log").is_err());
    assert!(fs::remove_file("/disk/log").is_err());
    disk.start();
    assert!(file.write_at(b"x", 0).is_err(), "it was opened before");
    let again = fs::File::options().write(true).open("/disk/log").expect("there");
    again.try_lock().expect("the holder died");
    drop(file);
    let other = fs::File::open("/disk/log").expect("there");
    assert!(other.try_lock_shared().is_err(), "the dead one's end gives nobody's lock back");
}

#[test]
fn a_disk_that_lies_loses_what_was_synced() {
    let disk = disk();
    disk.lie(true);
    let mut file = fs::File::create("/disk/log").expect("made");
    file.write_all(b"kept?").expect("written");
    file.sync_all().expect("it says");
    fs::File::open("/disk").expect("the folder").sync_all().expect("it says");
    restart(&disk, nothing_survives);
    assert!(!fs::exists("/disk/log").expect("on"));
}

#[test]
fn what_could_not_be_synced_waits() {
    let disk = disk();
    let mut file = fs::File::create("/disk/log").expect("made");
    file.sync_all().expect("synced");
    fs::File::open("/disk").expect("the folder").sync_all().expect("synced");
    Disk::fail_syncs("/disk/log", true).expect("there");
    file.write_all(b"one").expect("written");
    file.sync_data().expect_err("the disk fails");
    assert_eq!(fs::read("/disk/log").expect("there"), b"one");
    restart(&disk, nothing_survives);
    assert_eq!(fs::read("/disk/log").expect("there"), b"");

    let file = fs::OpenOptions::new().write(true).open("/disk/log").expect("there");
    file.write_at(b"two", 0).expect("written");
    file.sync_data().expect_err("it still fails");
    Disk::fail_syncs("/disk/log", false).expect("there");
    file.sync_data().expect("synced");
    restart(&disk, nothing_survives);
    assert_eq!(fs::read("/disk/log").expect("there"), b"two");
}
