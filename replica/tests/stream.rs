//! One copy of a storage made of another, transaction by transaction.

mod common;

use common::packing::record;
use common::{Site, place};
use replica::{
    CommitError, Export, NoProgress, Oid, OpenOptions, PackOptions, Place, Storage, Tid, Transaction, verify,
};

/// Takes over everything that `to` lacks. Returns how many transactions that were.
fn follow(from: &Storage, to: &Site, what: Export) -> usize {
    let mut exporter = from.export(to.storage.last_place().tid, what).expect("readable");
    let anchor = exporter.anchor();
    let mut anchored = to.storage.last_place().tid >= anchor.tid;
    let mut count = 0;
    loop {
        let mut portable = Vec::new();
        let next = exporter.next(&mut portable).expect("readable");
        if !anchored && next.as_ref().is_none_or(|next| next.tid > anchor.tid) {
            to.storage.take_anchor(anchor).expect("taken over");
            anchored = true;
        }
        let Some(next) = next else { return count };
        let mut transaction = to.storage.import(portable.clone().into()).expect("right");
        if anchored {
            transaction.expect_checksum(next.checksum);
        }
        assert_eq!(to.commit(transaction), next.tid);
        count += 1;
    }
}

fn some_history(site: &Site) {
    let objects = [(0, record(&[1, 2, 3], "root")), (1, record(&[], "one")), (2, record(&[], "two"))];
    site.store(&objects.each_ref().map(|(oid, data)| (*oid, &data[..])));
    site.store(&[(3, &record(&[], "three"))]);
    let second = site.store(&[(1, &record(&[], "one again"))]);
    site.store(&[(2, &record(&[], "two again")), (3, &record(&[], "three again"))]);
    site.undo(second);
    let mut deletes = site.begin();
    deletes.delete(Oid::new(3)).expect("collected");
    deletes.store(Oid::ROOT, &record(&[1, 2], "root")).expect("collected");
    site.commit(deletes);
    let mut empty = site.begin();
    empty.set_metadata("jürgen".as_bytes(), b"nothing", b"\x80\x03}.").expect("short");
    site.commit(empty);
}

#[test]
fn a_copy_of_all_transactions_is_the_same_history() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    assert_eq!(follow(&from.storage, &to, Export::All), 7);
    assert_eq!(to.storage.last_place(), from.storage.last_place());
    from.store(&[(9, b"later")]);
    assert_eq!(follow(&from.storage, &to, Export::All), 1);
    assert_eq!(to.storage.last_place(), from.storage.last_place());
    let paths = [from.storage.path().to_owned(), to.storage.path().to_owned()];
    from.close();
    to.close();
    // The same bytes: nothing in them says that this is a copy.
    assert_eq!(std::fs::read(&paths[0]).expect("a log"), std::fs::read(&paths[1]).expect("a log"));
}

#[test]
fn a_copy_of_a_packed_log_goes_on_with_its_checksum() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    from.storage.pack(from.storage.last_tid(), PackOptions::default(), &NoProgress).expect("packed");
    from.store(&[(1, &record(&[], "after the pack"))]);
    follow(&from.storage, &to, Export::All);
    check_copy(&from, to);
}

#[test]
fn a_copy_of_what_is_current_has_that_and_goes_on_whole() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    follow(&from.storage, &to, Export::Current);
    assert_eq!(to.storage.last_place(), from.storage.last_place());
    from.store(&[(2, &record(&[], "after the copy"))]);
    assert_eq!(follow(&from.storage, &to, Export::All), 1);
    check_copy(&from, to);
}

#[test]
fn an_undo_that_leads_back_to_what_a_fast_recovery_left_out_brings_its_data() {
    let ((_one, from), (_other, to), (_third, whole)) = (place(), place(), place());
    let (from, to, whole) = (Site::open(&from), Site::open(&to), Site::open(&whole));
    let data = |text| record(&[], text);
    from.store(&[
        (0, &record(&[1, 2, 3, 4], "root")),
        (1, &data("one")),
        (2, &data("kept")),
        (4, &data("four")),
    ]);
    let again = from.store(&[(1, &data("one again")), (3, &data("there"))]);
    let mut deletes = from.begin();
    deletes.delete(Oid::new(3)).expect("collected");
    let deletion = from.commit(deletes);
    let change = from.store(&[(1, &data("changed")), (4, &data("changed"))]);
    follow(&from.storage, &whole, Export::All);
    follow(&from.storage, &to, Export::Current);

    // These lead to records that are not in the one copy, and again to the first of them.
    let undo = from.undo(change);
    from.undo(deletion);
    let again_changed = from.undo(undo);
    from.undo(again_changed);
    assert_eq!(from.load(1), Some(data("one again")));
    // This one leads to a record that both have.
    let kept = from.store(&[(2, &data("changed"))]);
    from.undo(kept);
    assert_eq!(follow(&from.storage, &to, Export::All), 6);
    assert_eq!(to.load(3), Some(data("there")));

    // A copy that has every record can go on with that one.
    assert_eq!(follow(&to.storage, &whole, Export::All), 6);
    check_copy(&from, whole);
    from.storage.pack(again, PackOptions::default(), &NoProgress).expect("packed");
    to.storage.pack(to.storage.last_tid(), PackOptions::default(), &NoProgress).expect("packed");
    check_copy(&from, to);
}

#[test]
fn an_undo_that_leads_back_to_what_the_copy_alone_has_packed_brings_its_data() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    from.store(&[(1, &record(&[], "packed at the copy")), (9, b"unreachable")]);
    let last = from.store(&[(1, &record(&[], "the last before its pack"))]);
    follow(&from.storage, &to, Export::All);
    to.storage.pack(last, PackOptions::default(), &NoProgress).expect("packed");
    from.undo(last);
    from.undo(from.storage.last_tid());
    assert_eq!(follow(&from.storage, &to, Export::All), 2);
    from.storage.pack(last, PackOptions::default(), &NoProgress).expect("packed");
    check_copy(&from, to);
}

#[test]
fn a_copy_of_what_is_current_can_be_brought_up_to_date_in_the_same_way() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    follow(&from.storage, &to, Export::Current);
    from.store(&[(1, &record(&[], "in between"))]);
    from.store(&[(1, &record(&[], "later")), (2, &record(&[], "later"))]);
    assert_eq!(follow(&from.storage, &to, Export::Current), 1);
    from.store(&[(2, &record(&[], "after that"))]);
    follow(&from.storage, &to, Export::All);
    check_copy(&from, to);
}

/// The copy has what is current, the same checksum, also with an index that is made anew, and is right.
fn check_copy(from: &Site, to: Site) {
    for oid in 0..10 {
        assert_eq!(to.load(oid), from.load(oid), "object {oid}");
    }
    let end = from.storage.last_place();
    assert_eq!(to.storage.last_place(), end);
    let path = to.storage.path().to_owned();
    to.close();
    let to = Site::open(&path);
    assert_eq!(to.storage.last_place(), end);
    to.close();
    std::fs::remove_file(path.with_file_name("Data.fs.standby").join("index.redb")).expect("an index");
    let to = Site::open(&path);
    assert_eq!(to.storage.last_place(), end);
    assert_eq!(
        to.storage.first_place(),
        to.storage.place_up_to(to.storage.first_place().tid).unwrap().unwrap()
    );
    to.close();
    assert_eq!(verify(&path, &NoProgress).expect("readable").problems, []);
}

#[test]
fn an_export_of_what_is_current_is_as_of_its_beginning() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    let first = from.store(&[(1, b"first")]);
    let mut exporter = from.storage.export(Tid::ZERO, Export::Current).expect("readable");
    let second = from.store(&[(1, b"second")]);
    let mut tids = Vec::new();
    let mut portable = Vec::new();
    while let Some(next) = exporter.next(&mut portable).expect("readable") {
        tids.push(next.tid);
        to.commit(to.storage.import(portable.clone().into()).expect("right"));
        portable.clear();
    }
    assert_eq!(tids, [first, second]);
    assert_eq!(to.load(1).as_deref(), Some(&b"second"[..]));
}

#[test]
fn an_export_of_what_is_current_ends_with_the_last_transaction_even_if_nothing_of_it_is_current() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    from.store(&[(1, b"one")]);
    let mut empty = from.begin();
    empty.set_metadata(b"", b"a boundary", b"").expect("short");
    let last = from.commit(empty);
    follow(&from.storage, &to, Export::Current);
    assert_eq!((to.storage.last_tid(), to.storage.last_place()), (last, from.storage.last_place()));
}

#[test]
fn an_export_goes_on_in_the_log_of_before_while_that_is_packed() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    some_history(&from);
    let mut exporter = from.storage.export(Tid::ZERO, Export::All).expect("readable");
    let take = |exporter: &mut replica::Exporter| {
        let mut portable = Vec::new();
        let next = exporter.next(&mut portable).expect("readable")?;
        let mut transaction = to.storage.import(portable.clone().into()).expect("right");
        transaction.expect_checksum(next.checksum);
        Some(to.commit(transaction))
    };
    take(&mut exporter).expect("the first");
    from.storage.pack(from.storage.last_tid(), PackOptions::default(), &NoProgress).expect("packed");
    let later = from.store(&[(2, &record(&[], "later"))]);
    let mut last = None;
    while let Some(tid) = take(&mut exporter) {
        last = Some(tid);
    }
    assert_eq!(last, Some(later));
    assert_eq!(to.storage.last_place(), from.storage.last_place());
}

/// How many files this process has open that were removed from the folder of this path.
fn removed_and_open(path: &std::path::Path) -> usize {
    let folder = path.parent().expect("a folder").to_string_lossy().into_owned();
    let open = std::fs::read_dir("/proc/self/fd").expect("what is open");
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .map(|link| link.to_string_lossy().into_owned())
        .filter(|link| link.starts_with(&folder) && link.contains("Data.fs") && link.ends_with("(deleted)"))
        .count()
}

fn wait_until_let_go_of(path: &std::path::Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while removed_and_open(path) > 0 {
        assert!(std::time::Instant::now() < deadline, "the log of before is still open");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn an_export_that_has_everything_lets_go_of_a_log_that_was_packed() {
    let (_one, path) = place();
    let from = Site::open(&path);
    some_history(&from);
    for what in [Export::All, Export::Current] {
        let mut exporter = from.storage.export(Tid::ZERO, what).expect("readable");
        while exporter.next(&mut Vec::new()).expect("readable").is_some() {}
        from.store(&[(1, &record(&[], "again"))]);
        while exporter.next(&mut Vec::new()).expect("readable").is_some() {}
        let options = PackOptions { keep_old: false, ..PackOptions::default() };
        from.storage.pack(from.storage.last_tid(), options, &NoProgress).expect("packed");
        assert!(removed_and_open(&path) > 0, "nothing was packed");
        assert_eq!(exporter.next(&mut Vec::new()).expect("readable"), None);
        wait_until_let_go_of(&path);
        let later = from.store(&[(1, &record(&[], "later"))]);
        let next = exporter.next(&mut Vec::new()).expect("readable").expect("there is more");
        assert_eq!((next.tid, next.checksum), (later, from.storage.last_place().checksum));
    }
}

#[test]
fn an_export_lets_go_of_a_log_that_was_packed_as_soon_as_the_rest_of_both_is_the_same() {
    let ((_one, path), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&path), Site::open(&to));
    some_history(&from);
    let until = from.storage.last_tid();
    let mut exporter = from.storage.export(Tid::ZERO, Export::All).expect("readable");
    for at in 0..3 {
        from.store(&[(1, &record(&[], &format!("after the pack time {at}")))]);
    }
    let mut take = || {
        let mut portable = Vec::new();
        let next = exporter.next(&mut portable).expect("readable")?;
        let mut transaction = to.storage.import(portable.clone().into()).expect("right");
        transaction.expect_checksum(next.checksum);
        Some(to.commit(transaction))
    };
    take().expect("the first");
    let options = PackOptions { keep_old: false, ..PackOptions::default() };
    from.storage.pack(until, options, &NoProgress).expect("packed");
    while take().expect("a transaction") < until {
        assert!(removed_and_open(&path) > 0, "what was packed was to be sent as it was");
    }
    take().expect("the first after the pack time");
    wait_until_let_go_of(&path);
    while take().is_some() {}
    assert_eq!(to.storage.last_place(), from.storage.last_place());
}

#[test]
fn a_transaction_that_is_not_what_it_was_is_not_committed() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    from.store(&[(1, b"as it was")]);
    let mut portable = Vec::new();
    let mut exporter = from.storage.export(Tid::ZERO, Export::All).expect("readable");
    let exported = exporter.next(&mut portable).expect("readable").expect("a transaction");
    let at = portable.len() - 1;
    portable[at] ^= 1;
    let import = |portable: &[u8]| -> Transaction {
        let mut transaction = to.storage.import(portable.to_vec().into()).expect("it can be read");
        transaction.expect_checksum(exported.checksum);
        transaction
    };
    let error = to.try_commit(import(&portable)).expect_err("it is another");
    assert!(matches!(error, CommitError::Checksum { .. }), "{error}");
    assert_eq!(to.storage.last_place(), Place::START);
    portable[at] ^= 1;
    to.commit(import(&portable));
    assert_eq!(to.storage.last_place(), from.storage.last_place());
}

#[test]
fn places_are_found_up_to_any_transaction() {
    let (_folder, path) = place();
    let site = Site::open_with(&path, &OpenOptions::default());
    assert_eq!(site.storage.place_up_to(Tid::MAX).expect("readable"), Some(Place::START));
    let tids = [site.store(&[(0, &record(&[], "a"))]), site.store(&[(0, &record(&[], "b"))])];
    let found = |tid| site.storage.place_up_to(tid).expect("readable").map(|place| place.tid);
    assert_eq!(found(Tid::new(tids[0].get() - 1)), Some(Tid::ZERO));
    assert_eq!((found(tids[0]), found(Tid::new(tids[1].get() - 1))), (Some(tids[0]), Some(tids[0])));
    assert_eq!((found(tids[1]), found(Tid::MAX)), (Some(tids[1]), Some(tids[1])));
    site.storage.pack(tids[1], PackOptions::default(), &NoProgress).expect("packed");
    assert_eq!((found(tids[0]), found(tids[1])), (None, Some(tids[1])));
}

#[test]
fn an_object_that_was_deleted_between_two_parts_of_a_copy_is_deleted_there_too() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    from.store(&[(1, b"stays"), (2, b"goes")]);
    let created = from.store(&[(3, b"short-lived")]);
    follow(&from.storage, &to, Export::Current);
    let mut deletes = from.begin();
    deletes.delete(Oid::new(2)).expect("collected");
    from.commit(deletes);
    from.undo(created);
    from.store(&[(1, b"stays, changed")]);
    let mut exporter = from.storage.export(to.storage.last_tid(), Export::Current).expect("readable");
    let mut portable = Vec::new();
    while exporter.next(&mut portable).expect("readable").is_some() {
        to.commit(to.storage.import(portable.clone().into()).expect("right"));
        portable.clear();
    }
    for oid in 1..=3 {
        assert_eq!(to.load(oid), from.load(oid), "object {oid}");
    }
}

#[test]
fn a_back_pointer_stays_one_while_the_copy_is_being_packed() {
    let ((_one, from), (_other, to)) = (place(), place());
    let (from, to) = (Site::open(&from), Site::open(&to));
    from.store(&[(0, &record(&[1], "root")), (1, &record(&[], "one"))]);
    let changed = from.store(&[(1, &record(&[], "two"))]);
    follow(&from.storage, &to, Export::All);
    from.undo(changed);
    let done = std::sync::Mutex::new(false);
    let progress = common::packing::At(|stage| {
        if stage == replica::PackStage::Copying && !std::mem::replace(&mut *done.lock().expect("once"), true)
        {
            follow(&from.storage, &to, Export::All);
        }
    });
    // Up to where the revision is current that is pointed to, so that it stays.
    let until = Tid::new(changed.get() - 1);
    to.storage.pack(until, PackOptions::default(), &progress).expect("packed");
    assert!(*done.lock().expect("once"), "the pack came to that stage");
    assert_eq!(to.storage.last_place(), from.storage.last_place());
}

#[test]
fn how_far_a_copy_is_behind_is_told_in_transactions_and_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::open(&folder.path().join("Data.fs"));
    let mut places = vec![(Tid::ZERO, site.storage.size_bytes())];
    for number in 0..30u8 {
        places.push((site.store(&[(1, &record(&[], &number.to_string()))]), site.storage.size_bytes()));
    }
    let end = site.storage.size_bytes();
    for (done, (tid, size)) in places.iter().enumerate() {
        let beyond = site.storage.beyond(*tid, 1000).expect("readable");
        assert_eq!((beyond.transactions, beyond.counted), (30 - done as u64, true));
        assert_eq!(beyond.bytes, end - size);
        assert_eq!(beyond.first, places.get(done + 1).map(|(tid, _)| *tid));
    }
    let some = site.storage.beyond(Tid::ZERO, 7).expect("readable");
    assert_eq!((some.transactions, some.counted), (7, false));
}
