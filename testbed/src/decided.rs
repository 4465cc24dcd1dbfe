//! Clusters whose nodes decide by themselves who is the primary.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use standby_control::{Done, Role};
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

use crate::cluster::{Follows, Node};
use crate::driver::Committer;
use crate::poll;

/// Where the calls of tests that are not asynchronous themselves run.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What a node says it does, if it answers.
pub fn role(node: &Node) -> Option<Role> {
    let asked = runtime().ok()?.block_on(node.control().status());
    asked.ok().map(|status| status.role)
}

/// Three nodes, the first of which has made the cluster.
pub fn cluster(folder: &Path, replication: &str) -> Result<[Node; 3]> {
    cluster_with(folder, "", replication)
}

/// The same, where every `[cluster]` says more, such as how long a lease is.
pub fn cluster_with(folder: &Path, cluster: &str, replication: &str) -> Result<[Node; 3]> {
    cluster_of(folder, ["a", "b", "c"], |number, node| {
        node.set_cluster(cluster);
        if number == 0 {
            node.set_replication(replication);
        }
    })
}

/// Nodes of these names, each prepared before it is started. The first makes the cluster.
pub fn cluster_of<const N: usize>(
    folder: &Path,
    names: [&str; N],
    mut prepare: impl FnMut(usize, &mut Node),
) -> Result<[Node; N]> {
    let mut nodes: Vec<Node> = Vec::with_capacity(N);
    for (number, name) in names.into_iter().enumerate() {
        let follows = Follows::Decided(nodes.first());
        let mut node = Node::new(folder, name, follows)?;
        prepare(number, &mut node);
        node.configure(follows)?;
        if number == 0 {
            node.init()?;
        }
        node.start()?;
        nodes.push(node);
    }
    wait_for_followers(&nodes)?;
    // A node may follow before it is decided that it belongs.
    poll::until("every node to belong", poll::PATIENCE, || {
        let history = runtime()?.block_on(nodes[0].control().history())?;
        let joined = |node: &Node| {
            let begin = format!("{} joined", node.name);
            history.happenings.iter().any(|entry| entry.text.starts_with(&begin))
        };
        Ok(nodes.iter().all(joined).then_some(()))
    })?;
    Ok(nodes.try_into().expect("as many as there are names"))
}

/// The one that says it is the primary, when one does.
pub fn primary(nodes: &[Node]) -> Result<usize> {
    poll::until("a primary", poll::PATIENCE, || {
        Ok(nodes.iter().position(|node| node.server.is_some() && role(node) == Some(Role::Primary)))
    })
    .with_context(|| {
        nodes.iter().map(|node| node.log().unwrap_or_default()).collect::<Vec<_>>().join("\n---\n")
    })
}

/// Every running node has everything that the primary has.
pub fn wait_for_followers(nodes: &[Node]) -> Result<()> {
    let running = nodes.iter().filter(|node| node.server.is_some()).count();
    let leader = primary(nodes)?;
    poll::until("every replica in step", poll::PATIENCE, || {
        let status = runtime()?.block_on(nodes[leader].control().status())?;
        let followers = &status.storages[0].followers;
        let in_step = followers.iter().filter(|follower| follower.flowing && follower.lag.transactions == 0);
        Ok((in_step.count() + 1 == running).then_some(()))
    })
    .with_context(|| {
        nodes.iter().map(|node| node.log().unwrap_or_default()).collect::<Vec<_>>().join("\n---\n")
    })
}

/// Commits at the primary, whoever that is, as often as it takes: on a busy machine it may change by itself.
pub fn commit(nodes: &[Node], series: u64, count: u64) -> Result<Tid> {
    let mut attempt = 0;
    poll::until("commits at the primary", poll::PATIENCE, || {
        attempt += 1;
        let leader = primary(nodes)?;
        Ok(runtime()?.block_on(commit_at(&nodes[leader], series * 100 + attempt, count)).ok())
    })
}

async fn commit_at(node: &Node, series: u64, count: u64) -> Result<Tid> {
    let oids = (0..3).map(|place| Oid::new((1 << 34) + series * 10 + place)).collect();
    let mut committer = Committer::new(Connection::open(node.zeo()).await?, series, oids, 300, Tid::ZERO);
    let mut last = Tid::ZERO;
    for _ in 0..count {
        last = committer.commit().await?.tid;
    }
    Ok(last)
}

/// Has a node's control API change something. What was done.
pub fn change(asked: &Node, path: &str, wanted: &impl Serialize) -> Result<String> {
    let takes = Duration::from_secs(30);
    let Done { done } = runtime()?.block_on(asked.control().change(path, wanted, takes))?;
    Ok(done)
}

/// Stops all of them, when each has everything, and compares their files.
pub fn stop_with_the_same_history(nodes: &mut [Node]) -> Result<()> {
    wait_for_followers(nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)?;
    let files: Vec<Vec<u8>> =
        nodes.iter().map(|node| std::fs::read(node.data())).collect::<Result<_, _>>()?;
    ensure!(files.windows(2).all(|pair| pair[0] == pair[1]), "every node has the same history");
    Ok(())
}
