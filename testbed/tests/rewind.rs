//! An old primary with transactions that nobody else has: it saves them, takes them back, and follows the new one.
//!
//! - `STANDBY_LOST=N`: how many are lost in the largest test (default 5,000).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::poll;
use standby_testbed::script::Script;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

/// Clients that write objects of their own at one time.
const CLIENTS: usize = 16;

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Commits `count` transactions of two objects by so many clients as there are `serials`: those of their objects, which
/// are theirs in every call. Returns what they are then.
fn commit(node: &Node, name: u64, count: u64, serials: &[Tid]) -> Result<Vec<Tid>> {
    let left = Arc::new(AtomicU64::new(count));
    let mut clients = Vec::new();
    let runtime = runtime()?;
    for (place, serial) in serials.iter().copied().enumerate() {
        let (address, left) = (node.zeo(), Arc::clone(&left));
        let first = (1 << 34) + place as u64 * 10;
        clients.push(runtime.spawn(async move {
            let oids = vec![Oid::new(first), Oid::new(first + 1)];
            let connection = Connection::open(address).await?;
            let mut committer = Committer::new(connection, name * 100 + place as u64, oids, 120, serial);
            let mut last = serial;
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                last = committer.commit().await?.tid;
            }
            anyhow::Ok(last)
        }));
    }
    runtime.block_on(async {
        let mut last = Vec::new();
        for client in clients {
            last.push(client.await??);
        }
        Ok(last)
    })
}

/// Waits until the others serve what the first one has, or what `last` is.
fn wait_for(nodes: &[Node], last: Option<Tid>, patience: Duration) -> Result<Tid> {
    let runtime = runtime()?;
    let last = match last {
        Some(last) => last,
        None => runtime.block_on(nodes[0].last_transaction()).context("the primary serves")?,
    };
    for node in &nodes[1..] {
        poll::until(&format!("node {} to have transaction {last}", node.name), patience, || {
            Ok((runtime.block_on(node.last_transaction()) == Some(last)).then_some(()))
        })
        .with_context(|| node.log().unwrap_or_default())?;
    }
    Ok(last)
}

/// Whether a client that has seen this transaction is told what has changed since, and not to drop everything.
fn keeps_cache(node: &Node, seen: Tid) -> Result<bool> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(node.zeo()).await?;
        let seen = zeo_proto::Value::Bytes(seen.to_bytes().to_vec().into());
        Ok(connection.call("getInvalidations", &[seen]).await? != zeo_proto::Value::None)
    })
}

/// The files in the folder of what a node has lost.
fn saved(node: &Node) -> Result<Vec<PathBuf>> {
    let folder = node.data().with_file_name("Data.fs.standby").join("lost");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "fs")).collect())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A primary and one of its two replicas go on alone, and lose so many transactions to the other replica.
fn lose(count: u64) -> Result<()> {
    let patience = poll::PATIENCE + Duration::from_millis(count * 3);
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    let mut c = Node::new(folder.path(), "c", Follows::Fully(&a))?;
    for node in [&mut a, &mut b, &mut c] {
        node.start()?;
    }
    let half = commit(&a, 1, 200, &[Tid::ZERO; CLIENTS / 2])?;
    let mut nodes = [a, b, c];
    let common = wait_for(&nodes, None, patience)?;
    nodes[1].kill()?;

    // What is lost: new revisions of what was there, and new objects.
    let mut serials = half.clone();
    serials.resize(CLIENTS.min(count as usize), Tid::ZERO);
    let begin = Instant::now();
    let lost = commit(&nodes[0], 2, count, &serials)?.into_iter().max().context("somebody commits")?;
    println!("{count} transactions to be lost: {:?}", begin.elapsed());
    wait_for(&nodes[1..], Some(lost), patience)?;
    for at in [0, 2] {
        let node = &mut nodes[at];
        node.kill()?;
        std::fs::copy(node.data(), node.data().with_file_name("before.fs"))?;
    }

    nodes[1].configure(Follows::Nobody)?;
    nodes[1].start()?;
    // A client that has seen what was lost must drop its cache; one that has not keeps it.
    ensure!(!keeps_cache(&nodes[1], lost)?, "a client would keep what was lost");
    ensure!(keeps_cache(&nodes[1], common)?, "a client would drop its cache for nothing");
    let half = commit(&nodes[1], 3, 20, &half)?;
    ensure!(!keeps_cache(&nodes[1], lost)?, "a client would keep what was lost");
    let [a, b, c] = &mut nodes;
    a.configure(Follows::Fully(b))?;
    c.configure(Follows::Fully(b))?;
    let begin = Instant::now();
    a.start()?;
    c.start()?;
    nodes.swap(0, 1);
    wait_for(&nodes, None, patience)?;
    println!("{count} transactions rewound on two nodes, which follow: {:?}", begin.elapsed());
    commit(&nodes[0], 4, 20, &half)?;
    wait_for(&nodes, None, patience)?;

    // The new primary never had them.
    let end = nodes[0].verified()?;
    for node in &nodes[1..] {
        assert_eq!(node.verified()?, end, "node {}", node.name);
    }
    for node in &mut nodes {
        node.stop()?;
    }
    let paths = nodes.iter().map(|node| text(&node.data()));
    Script::run("replication.py", std::iter::once("compare".to_owned()).chain(paths))?;
    for node in &nodes[1..] {
        let saved = saved(node)?;
        ensure!(saved.len() == 1, "node {}: {saved:?}", node.name);
        let before = node.data().with_file_name("before.fs");
        let common = format!("{:016x}", common.get());
        let said =
            Script::run("replication.py", ["lost".to_owned(), text(&before), common, text(&saved[0])])?;
        ensure!(said.contains(&format!("{count} transactions are saved")), "node {}: {said}", node.name);
    }
    Ok(())
}

#[test]
fn a_single_lost_transaction_is_saved_and_taken_back() -> Result<()> {
    lose(1)
}

#[test]
fn a_hundred_lost_transactions_are_saved_and_taken_back() -> Result<()> {
    lose(100)
}

#[test]
fn thousands_of_lost_transactions_are_saved_and_taken_back() -> Result<()> {
    let count = match std::env::var("STANDBY_LOST") {
        Ok(count) => count.parse().context("STANDBY_LOST is a number")?,
        Err(_) => 5_000,
    };
    lose(count)
}
