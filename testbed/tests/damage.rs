//! Bytes that changed on a disk: nothing wrong is passed on or taken, nothing is overwritten, and it is said where.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

/// What every record begins with.
const RECORD: &[u8] = b"\x80\x03cpersistent.mapping\n";
/// Into the bytes that a record holds.
const INSIDE: i64 = 300;
/// To the length of its data, in its header.
const LENGTH: i64 = -8 + 3;

fn commit(node: &Node, series: u64, count: u64) -> Result<Tid> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let connection = Connection::open(node.zeo()).await?;
        let oids = (0..3).map(|place| Oid::new((1 << 34) + series * 10 + place)).collect();
        let mut committer = Committer::new(connection, series, oids, 2000, Tid::ZERO);
        let mut last = Tid::ZERO;
        for _ in 0..count {
            last = committer.commit().await?.tid;
        }
        Ok(last)
    })
}

/// Changes a bit in a node's log, so far from the beginning of the first record that follows `after`. Done again, it
/// is as it was.
fn damage(node: &Node, after: u64, from_record: i64) -> Result<()> {
    let bytes = std::fs::read(node.data())?;
    let after = after as usize;
    let found = bytes[after..].windows(RECORD.len()).position(|window| window == RECORD);
    let record = (after + found.context("a record")?) as i64;
    let at = (record + from_record) as u64;
    let file = File::options().write(true).open(node.data())?;
    Ok(file.write_all_at(&[bytes[at as usize] ^ 0x10], at)?)
}

fn wait_for(node: &Node, last: Tid) -> Result<()> {
    let last = last.to_string();
    node.wait_for_status(&format!("transaction {last}"), |told| told.last_tid == last)?;
    Ok(())
}

fn wait_for_trouble(node: &Node, text: &str) -> Result<()> {
    node.wait_for_status(&format!("trouble: {text}"), |told| {
        let trouble = told.upstream.as_ref().and_then(|upstream| upstream.trouble.as_deref());
        trouble.is_some_and(|trouble| trouble.contains(text))
    })?;
    Ok(())
}

/// A primary, and a replica that lacks its last transactions, and is stopped. Both lengths of the log.
fn apart(folder: &std::path::Path) -> Result<(Node, Node, u64, Tid)> {
    let mut a = Node::new(folder, "a", Follows::Nobody)?;
    let mut b = Node::new(folder, "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    let common = commit(&a, 1, 20)?;
    wait_for(&b, common)?;
    b.wait_for_status("whole", |told| told.state == standby_control::CopyState::Serving)?;
    b.stop()?;
    let length = b.data().metadata()?.len();
    let last = commit(&a, 2, 20)?;
    Ok((a, b, length, last))
}

#[test]
fn what_is_damaged_in_the_log_of_a_source_is_not_taken_and_goes_on_when_it_is_mended() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, mut b, length, last) = apart(folder.path())?;
    let had = b.verified()?;
    // A byte of the data; then a length, so that what follows cannot be read.
    for (from_record, text, in_source) in [
        (INSIDE, "what came differs from what the upstream has", "the sink gave up: what came differs"),
        (LENGTH, "the log is damaged", "the log is damaged"),
    ] {
        let middle = length + (a.data().metadata()?.len() - length) / 2;
        damage(&a, middle, from_record)?;
        b.start()?;
        wait_for_trouble(&b, text)?;
        a.wait_for_log(in_source)?;
        let told = b.status()?.storages.remove(0);
        ensure!(told.last_tid >= had.0 && told.last_tid < last.to_string(), "{told:?}");
        ensure!(told.state != standby_control::CopyState::Incomplete, "{told:?}");
        b.verified()?; // what it took is whole
        damage(&a, middle, from_record)?;
        if from_record == LENGTH {
            wait_for(&b, last)?;
        }
        b.stop()?;
    }
    assert_eq!(b.verified()?, a.verified()?);
    Ok(())
}

/// Has the index made anew from the log.
fn forget_index(node: &Node) -> Result<()> {
    Ok(std::fs::remove_file(node.data().with_file_name("Data.fs.standby").join("index.redb"))?)
}

#[test]
fn a_replica_with_damage_in_common_history_is_refused_and_nothing_is_overwritten() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, mut b, length, last) = apart(folder.path())?;
    damage(&b, length / 2, INSIDE)?;
    forget_index(&b)?;
    let before = std::fs::read(b.data())?;
    b.start()?;
    wait_for_trouble(&b, "the upstream refuses: the histories differ somewhere up to transaction")?;
    a.wait_for_log("the histories differ somewhere up to transaction")?;
    b.stop()?;
    ensure!(std::fs::read(b.data())? == before, "it was overwritten");
    // Mended by hand, it goes on.
    damage(&b, length / 2, INSIDE)?;
    forget_index(&b)?;
    b.start()?;
    wait_for(&b, last)?;
    assert_eq!(b.verified()?, a.verified()?);
    Ok(())
}

#[test]
fn a_primary_with_damage_in_common_history_does_not_pass_it_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut a, mut b, length, _) = apart(folder.path())?;
    let had = b.verified()?;
    a.stop()?;
    damage(&a, length / 2, INSIDE)?;
    forget_index(&a)?;
    a.start()?;
    b.start()?;
    wait_for_trouble(&b, "the upstream refuses: the histories differ somewhere up to transaction")?;
    b.stop()?;
    assert_eq!(b.verified()?, had);
    Ok(())
}

#[test]
fn damage_on_a_replica_is_found_by_those_who_follow_it_and_by_verify() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_a, mut b, length, last) = apart(folder.path())?;
    b.start()?;
    wait_for(&b, last)?;
    damage(&b, length / 2, INSIDE)?;
    let mut c = Node::new(folder.path(), "c", Follows::Fully(&b))?;
    c.start()?;
    wait_for_trouble(&c, "what came differs from what the upstream has")?;
    let told = c.status()?.storages.remove(0);
    ensure!(told.state == standby_control::CopyState::Incomplete, "half a copy is not served: {told:?}");
    b.stop()?;
    let report = b.verified().expect_err("verify finds it").to_string();
    ensure!(report.contains("checksum"), "{report}");
    Ok(())
}
