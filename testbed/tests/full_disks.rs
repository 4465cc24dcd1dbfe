//! Disks that are full: at a replica, and at a primary.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Resource;
use standby_control::CopyState;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::disk::SmallDisk;
use standby_testbed::driver::Committer;
use standby_testbed::poll;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

const MIB: u64 = 1 << 20;

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

async fn committer(node: &Node, series: u64) -> Result<Committer> {
    let oids = (0..10).map(|place| Oid::new((1 << 34) + series * 10 + place)).collect();
    Ok(Committer::new(Connection::open(node.zeo()).await?, series, oids, 10_000, Tid::ZERO))
}

/// Commits so many transactions of 100 kB.
fn commit(node: &Node, series: u64, count: u64) -> Result<Tid> {
    runtime()?.block_on(async {
        let mut committer = committer(node, series).await?;
        let mut last = Tid::ZERO;
        for _ in 0..count {
            last = committer.commit().await?.tid;
        }
        Ok(last)
    })
}

fn wait_for(node: &Node, last: Tid) -> Result<()> {
    let last = last.to_string();
    node.wait_for_status(&format!("transaction {last}"), |told| told.last_tid == last)?;
    Ok(())
}

/// A small disk for a node, or `None` where the machine does not allow one.
fn small_disk(folder: &Path, bytes: u64) -> Option<SmallDisk> {
    SmallDisk::mount(&folder.join("disk"), bytes)
        .inspect_err(|error| eprintln!("skipped: no small disk can be mounted here: {error:#}"))
        .ok()
}

#[test]
fn a_replica_whose_disk_is_full_says_so_serves_on_and_goes_on_when_there_is_room() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(disk) = small_disk(folder.path(), 48 * MIB) else { return Ok(()) };
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Nobody)?;
    b.set_disk(disk.folder());
    b.configure(Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    wait_for(&b, commit(&a, 1, 10)?)?;
    let filling = disk.fill(3 * MIB)?;
    let last = commit(&a, 2, 250)?;
    let told = b.wait_for_status("that its disk is full", |told| {
        let trouble = told.upstream.as_ref().and_then(|upstream| upstream.trouble.as_deref());
        trouble.is_some_and(|trouble| trouble.contains("No space left on device"))
    })?;
    ensure!(told.last_tid < last.to_string(), "{told:?}");
    ensure!(matches!(told.state, CopyState::Serving | CopyState::Behind), "{told:?}");
    // What it has, it serves.
    runtime()?.block_on(async {
        let mut reader = Connection::open_read_only(b.zeo_ro()).await?;
        reader.call("lastTransaction", &[]).await
    })?;
    std::fs::remove_file(filling)?;
    wait_for(&b, last)?;
    b.wait_for_status("that all is well", |told| {
        told.upstream.as_ref().is_some_and(|upstream| upstream.trouble.is_none() && upstream.connected)
    })?;
    assert_eq!(b.verified()?, a.verified()?);
    b.stop()?;
    assert_eq!(b.verified()?, a.verified()?);
    Ok(())
}

/// Commits until that fails. The last transaction that was acknowledged, and the error.
async fn commit_until_refused(node: &Node, series: u64) -> Result<(Tid, String)> {
    let mut committer = committer(node, series).await?;
    let mut last = Tid::ZERO;
    for _ in 0..2000 {
        match committer.commit().await {
            Ok(written) => last = written.tid,
            Err(error) => return Ok((last, format!("{error:#}"))),
        }
    }
    anyhow::bail!("the disk never gets full")
}

/// A primary runs out of room; then there is some again.
fn runs_out_of_room(mut a: Node, b: Node, make_room: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    let (last, error) = runtime()?.block_on(commit_until_refused(&a, 2))?;
    ensure!(last > Tid::ZERO, "nothing could be committed: {error}");
    ensure!(error.contains("space") || error.contains("File too large"), "{error}");
    // Reading goes on, and nothing that was acknowledged is lost.
    ensure!(runtime()?.block_on(a.last_transaction()) == Some(last));
    wait_for(&b, last)?;
    make_room(&mut a)?;
    let last = commit(&a, 3, 50)?;
    wait_for(&b, last)?;
    assert_eq!(a.verified()?, b.verified()?);
    a.stop()?;
    a.start()?;
    ensure!(runtime()?.block_on(a.last_transaction()).context("it serves")? == last);
    Ok(())
}

#[test]
fn a_primary_whose_disk_is_full_refuses_commits_and_goes_on_when_there_is_room() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(disk) = small_disk(folder.path(), 64 * MIB) else { return Ok(()) };
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    a.set_disk(disk.folder());
    a.configure(Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    wait_for(&b, commit(&a, 1, 10)?)?;
    let filling = disk.fill(2 * MIB)?;
    runs_out_of_room(a, b, |_| Ok(std::fs::remove_file(filling)?))
}

#[test]
fn a_primary_whose_files_must_not_grow_refuses_commits_and_goes_on_when_they_may() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    wait_for(&b, commit(&a, 1, 10)?)?;
    a.server()?.limit_softly(Resource::Fsize, 25 * MIB)?;
    runs_out_of_room(a, b, |a| a.server()?.limit_softly(Resource::Fsize, 1 << 40))
}

#[test]
fn a_replica_whose_files_must_not_grow_says_so_and_goes_on_when_they_may() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    wait_for(&b, commit(&a, 1, 10)?)?;
    b.server()?.limit_softly(Resource::Fsize, 5 * MIB)?;
    let last = commit(&a, 2, 100)?;
    b.wait_for_status("that its files must not grow", |told| {
        let trouble = told.upstream.as_ref().and_then(|upstream| upstream.trouble.as_deref());
        trouble.is_some_and(|trouble| trouble.contains("File too large"))
    })?;
    b.server()?.limit_softly(Resource::Fsize, 1 << 40)?;
    wait_for(&b, last)?;
    poll::until("its followers to go on", poll::PATIENCE, || {
        Ok((b.verified()? == a.verified()?).then_some(()))
    })
}
