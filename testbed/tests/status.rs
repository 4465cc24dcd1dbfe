//! What nodes say of themselves and of each other.

use anyhow::{Context, Result, ensure};
use standby_control::{CopyState, NodeStatus, Role, StorageStatus};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::poll;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn status(node: &Node) -> Result<NodeStatus> {
    runtime()?.block_on(node.control().status())
}

/// Waits until the node's storage is as described, and returns it.
fn storage(node: &Node, what: &str, holds: impl Fn(&StorageStatus) -> bool) -> Result<StorageStatus> {
    poll::until(&format!("node {}: {what}", node.name), poll::PATIENCE, || {
        let storage = status(node)?.storages.into_iter().next().context("one storage")?;
        Ok(holds(&storage).then_some(storage))
    })
}

fn commit(node: &Node, series: u64, count: usize) -> Result<Tid> {
    runtime()?.block_on(async {
        let connection = Connection::open(node.zeo()).await?;
        let mut committer =
            Committer::new(connection, series, vec![Oid::new((1 << 33) + series)], 300, Tid::ZERO);
        let mut last = Tid::ZERO;
        for _ in 0..count {
            last = committer.commit().await?.tid;
        }
        Ok(last)
    })
}

#[test]
fn every_node_says_what_it_does_and_who_follows_it_how_closely() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    let mut c = Node::new(folder.path(), "c", Follows::Fully(&b))?;
    for node in [&mut a, &mut b, &mut c] {
        node.start()?;
    }
    let last = commit(&a, 1, 10)?;
    let shown = |node: &Node| storage(node, "the last transaction", |told| told.last_tid == last.to_string());
    let (of_a, of_b, of_c) = (shown(&a)?, shown(&b)?, shown(&c)?);
    ensure!(status(&a)?.role == Role::Primary && status(&b)?.role == Role::Replica);
    ensure!(of_a.upstream.is_none() && of_a.state == CopyState::Serving && of_a.epoch == 1);
    ensure!(of_c.epoch == 1 && of_c.followers.is_empty());
    let in_step = storage(
        &a,
        "its follower in step",
        |told| matches!(&told.followers[..], [b] if b.flowing && b.lag.transactions == 0),
    )?;
    let follower = &in_step.followers[0];
    ensure!(follower.node == "b" && follower.durable_tid == last.to_string() && follower.lag.bytes == 0);
    ensure!(of_b.upstream.context("b follows")?.distance == 1);
    ensure!(of_c.upstream.context("c follows")?.distance == 2);

    // Stopped, it is still connected, and falls behind.
    b.server()?.pause()?;
    commit(&a, 2, 25)?;
    let behind = storage(
        &a,
        "its follower behind",
        |told| matches!(&told.followers[..], [b] if b.lag.transactions == 25),
    )?;
    let lag = behind.followers[0].lag;
    ensure!(lag.bytes > 25 * 300 && lag.seconds > 0.0 && !lag.more, "{lag:?}");
    b.server()?.resume()?;
    storage(&a, "its follower in step again", |told| told.followers[0].lag.transactions == 0)?;

    // Whoever is cut off says so.
    a.kill()?;
    let alone = storage(&b, "that it is cut off", |told| {
        told.upstream.as_ref().is_some_and(|upstream| !upstream.connected)
    })?;
    let upstream = alone.upstream.context("b follows")?;
    ensure!(
        upstream.node.as_deref() == Some("a")
            && upstream.heard.is_some()
            && alone.state == CopyState::Serving
    );
    let text = standby_admin::style::plain(&standby_admin::status::shown(&status(&b)?));
    ensure!(text.contains("follows         a: CUT OFF, last heard "), "{text}");
    Ok(())
}
