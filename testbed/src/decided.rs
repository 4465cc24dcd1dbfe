//! Clusters whose nodes decide by themselves who is the primary.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use standby_control::{Done, Lag, Promotion, Role, StorageStatus};
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
        Ok(())
    })
}

/// Nodes of these names, each prepared before it is started. The first makes the cluster; in the end, all belong to it
/// and have everything.
pub fn cluster_of<const N: usize>(
    folder: &Path,
    names: [&str; N],
    prepare: impl FnMut(usize, &mut Node) -> Result<()>,
) -> Result<[Node; N]> {
    let (nodes, _) = cluster_and_witnesses(folder, &names, &[], prepare)?;
    Ok(nodes.try_into().expect("as many as there are names"))
}

/// The same with nodes that have no data and vote, which are prepared after those that have data.
pub fn cluster_and_witnesses(
    folder: &Path,
    names: &[&str],
    witnesses: &[&str],
    mut prepare: impl FnMut(usize, &mut Node) -> Result<()>,
) -> Result<(Vec<Node>, Vec<Node>)> {
    let nodes = begun_cluster_of(folder, names, &mut prepare)?;
    let mut voters = Vec::with_capacity(witnesses.len());
    for (number, name) in (names.len()..).zip(witnesses) {
        let mut node = Node::new(folder, name, Follows::Votes(&nodes[0]))?;
        prepare(number, &mut node)?;
        node.configure(Follows::Votes(&nodes[0]))?;
        node.start()?;
        voters.push(node);
    }
    wait_for_followers(&nodes)?;
    wait_for_members(&nodes[0], nodes.iter().chain(&voters))?;
    Ok((nodes, voters))
}

/// Nodes as those of [`cluster_of`], where nobody has waited for them.
pub fn begun_cluster_of(
    folder: &Path,
    names: &[&str],
    mut prepare: impl FnMut(usize, &mut Node) -> Result<()>,
) -> Result<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        let follows = Follows::Decided(nodes.first());
        let mut node = Node::new(folder, name, follows)?;
        prepare(number, &mut node)?;
        node.configure(follows)?;
        if number == 0 {
            node.init()?;
        }
        node.start()?;
        nodes.push(node);
    }
    Ok(nodes)
}

/// It is decided that every node belongs, which may be later than it follows. One of them is asked.
pub fn wait_for_members<'a>(asked: &Node, nodes: impl Iterator<Item = &'a Node> + Clone) -> Result<()> {
    poll::until("every node to belong", poll::PATIENCE, || {
        let history = runtime()?.block_on(asked.control().history())?;
        let joined = |node: &Node| {
            let begin = format!("{} joined", node.name);
            history.happenings.iter().any(|entry| entry.text.starts_with(&begin))
        };
        Ok(nodes.clone().all(joined).then_some(()))
    })
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

/// Whether every running node has everything that this one has, which is the primary.
pub fn are_in_step(nodes: &[Node], leader: usize) -> Result<bool> {
    follow(nodes, leader, |lag| lag.transactions == 0)
}

/// Whether no running node lacks anything that this one, the primary, has had for so long. While clients write all the time, a
/// node far away always lacks what is on the way to it.
pub fn follow_closely(nodes: &[Node], leader: usize, behind: Duration) -> Result<bool> {
    follow(nodes, leader, |lag| lag.transactions == 0 || lag.seconds < behind.as_secs_f64())
}

fn follow(nodes: &[Node], leader: usize, is_close: impl Fn(&Lag) -> bool) -> Result<bool> {
    let running = nodes.iter().filter(|node| node.server.is_some()).count();
    let status = runtime()?.block_on(nodes[leader].control().status())?;
    let has_everything = |storage: &StorageStatus| {
        let followers = storage.followers.iter();
        followers.filter(|follower| follower.flowing && is_close(&follower.lag)).count() + 1 == running
    };
    Ok(status.role == Role::Primary && status.storages.iter().all(has_everything))
}

/// Waits until every running node has everything that the primary has, whoever that is by then. Which.
pub fn wait_for_followers(nodes: &[Node]) -> Result<usize> {
    poll::until("every replica in step", poll::PATIENCE, || {
        let mut running = (0..nodes.len()).filter(|number| nodes[*number].server.is_some());
        Ok(running.find(|number| are_in_step(nodes, *number).unwrap_or(false)))
    })
    .with_context(|| {
        nodes.iter().map(|node| node.log().unwrap_or_default()).collect::<Vec<_>>().join("\n---\n")
    })
}

/// Loses the majority: while one of three nodes is dead, these commits are made, which only the two others have, and those
/// die. Which one is left, and has been started. `commit` is told who the primary is.
pub fn lose_the_majority(
    nodes: &mut [Node; 3],
    commit: impl FnOnce(&[Node; 3], usize) -> Result<()>,
) -> Result<usize> {
    let last = wait_for_followers(nodes)?;
    let left = (last + 1) % 3;
    nodes[left].kill()?;
    commit(nodes, last)?;
    wait_for_followers(nodes)?;
    for node in others(left) {
        nodes[node].kill()?;
    }
    nodes[left].start()?;
    Ok(left)
}

/// An operator goes on with this one of three nodes alone.
pub fn go_on_with(nodes: &[Node; 3], left: usize) -> Result<()> {
    let wanted = Promotion { node: nodes[left].name.clone(), force: true, without_majority: true };
    poll::until("the node to go on alone", poll::PATIENCE, || {
        Ok(change(&nodes[left], "/v1/promote", &wanted).ok())
    })?;
    ensure!(primary(nodes)? == left, "it is the primary");
    Ok(())
}

/// The others come back, find out, and follow it.
pub fn bring_back_the_others(nodes: &mut [Node; 3], left: usize) -> Result<()> {
    for node in others(left) {
        nodes[node].start()?;
    }
    ensure!(wait_for_followers(nodes)? == left, "the others follow");
    Ok(())
}

/// Every node knows of so many files with lost transactions.
pub fn wait_for_losses(nodes: &[Node], files: usize) -> Result<()> {
    poll::until("what was lost to be known", poll::PATIENCE, || {
        let mut known = true;
        for node in nodes {
            let happenings = runtime()?.block_on(node.control().history())?.happenings;
            let saved = |text: &str| text.contains(" took back ") && text.ends_with(".fs");
            known &= happenings.iter().filter(|entry| saved(&entry.text)).count() == files;
        }
        Ok(known.then_some(()))
    })
}

fn others(left: usize) -> [usize; 2] {
    [(left + 1) % 3, (left + 2) % 3]
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
