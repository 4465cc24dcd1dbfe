//! Nodes that are told to follow each other in a circle, or themselves.

use anyhow::{Result, ensure};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::link::Link;
use standby_testbed::poll;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

fn commit(node: &Node, series: u64) -> Result<Tid> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let connection = Connection::open(node.zeo()).await?;
        let mut committer =
            Committer::new(connection, series, vec![Oid::new((1 << 33) + series)], 300, Tid::ZERO);
        let mut last = Tid::ZERO;
        for _ in 0..10 {
            last = committer.commit().await?.tid;
        }
        Ok(last)
    })
}

fn wait_for(nodes: &[Node], last: Tid) -> Result<()> {
    let last = last.to_string();
    for node in nodes {
        node.wait_for_status(&format!("transaction {last}"), |told| told.last_tid == last)?;
    }
    Ok(())
}

/// What each node says of why it follows nobody.
fn troubles(nodes: &[Node]) -> Result<Vec<String>> {
    let trouble = |node: &Node| {
        let upstream = node.status()?.storages.remove(0).upstream;
        Ok(upstream.and_then(|upstream| upstream.trouble).unwrap_or_default())
    };
    nodes.iter().map(trouble).collect()
}

#[test]
fn nodes_that_follow_each_other_say_so_and_follow_whoever_they_are_told_to_later() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut p = Node::new(folder.path(), "p", Follows::Nobody)?;
    p.start()?;
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let mut node = Node::new(folder.path(), name, Follows::Fully(&p))?;
        node.start()?;
        nodes.push(node);
    }
    let first = commit(&p, 1)?;
    wait_for(&nodes, first)?;
    for node in &mut nodes {
        node.wait_for_status("whole", |told| told.state == standby_control::CopyState::Serving)?;
        node.stop()?;
    }
    for number in 0..3 {
        nodes[number].configure(Follows::Fully(&nodes[(number + 1) % 3]))?;
        nodes[number].start()?;
    }
    poll::until("a loop to be found", poll::PATIENCE, || {
        let troubles = troubles(&nodes)?;
        Ok(troubles.iter().any(|trouble| trouble.contains("a loop of upstreams: ")).then_some(()))
    })?;
    let logs = nodes.iter().map(Node::log).collect::<Result<String>>()?;
    let circles = [
        "a follows b follows c follows a",
        "b follows c follows a follows b",
        "c follows a follows b follows c",
    ];
    ensure!(circles.iter().any(|circle| logs.contains(circle)), "{logs}");
    // Out of the circle, and everyone has what the primary has.
    let last = commit(&p, 2)?;
    nodes[0].stop()?;
    nodes[0].configure(Follows::Fully(&p))?;
    nodes[0].start()?;
    wait_for(&nodes, last)?;
    let told = nodes[1].wait_for_status("whom it follows", |told| {
        told.upstream.as_ref().is_some_and(|upstream| upstream.route.len() == 3)
    })?;
    ensure!(
        told.upstream.is_some_and(|upstream| upstream.route == ["c", "a", "p"] && upstream.distance == 3)
    );
    let end = p.verified()?;
    for node in &nodes {
        assert_eq!(node.verified()?, end, "node {}", node.name);
    }
    Ok(())
}

#[test]
fn a_node_does_not_follow_itself() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let link = Link::to(a.peer())?;
    a.configure(Follows::Address(link.address()))?;
    a.start()?;
    let told = a.wait_for_status("that it cannot follow", |told| {
        told.upstream.as_ref().is_some_and(|upstream| upstream.trouble.is_some())
    })?;
    let trouble = told.upstream.and_then(|upstream| upstream.trouble).unwrap_or_default();
    ensure!(trouble.contains("they are one node, or two of one name"), "{trouble}");
    Ok(())
}
