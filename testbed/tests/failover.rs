//! Nodes that decide by themselves who is the primary.
//!
//! - `STANDBY_FAILOVER_ROUNDS=N`: how often the primary changes under stock clients (default 4).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_control::Role;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::{
    cluster, commit, primary, role, runtime, stop_with_the_same_history, wait_for_followers,
};
use standby_testbed::driver::Committer;
use standby_testbed::link::{Link, Way};
use standby_testbed::poll;
use standby_testbed::script::Script;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

#[test]
fn another_node_takes_the_place_of_a_primary_that_is_killed() -> Result<()> {
    let folder = standby_testbed::place::scratch("failover")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let mut acknowledged = Tid::ZERO;
    for round in 0..3 {
        acknowledged = commit(&nodes, round, 20)?.max(acknowledged);
        let old = primary(&nodes)?;
        nodes[old].kill()?;
        let killed = Instant::now();
        let first = commit(&nodes, 100 + round, 1)?;
        eprintln!("round {round}: the first commit {:?} after the kill", killed.elapsed());
        ensure!(killed.elapsed() < Duration::from_secs(30), "it took {:?}", killed.elapsed());
        ensure!(first > acknowledged, "tids grow");
        nodes[old].start()?;
        wait_for_followers(&nodes)?;
    }
    let last = commit(&nodes, 500, 5)?;
    wait_for_followers(&nodes)?;
    ensure!(last > acknowledged);
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn stock_clients_write_on_at_the_new_primary_without_help_and_lose_nothing() -> Result<()> {
    let folder = standby_testbed::place::scratch("failover")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let zeo: Vec<String> = nodes.iter().map(|node| node.zeo().to_string()).collect();
    let zeo_ro: Vec<String> = nodes.iter().map(|node| node.zeo_ro().to_string()).collect();
    let mut clients = Vec::new();
    for mode in ["plain", "fallback"] {
        let var = folder.path().join(mode);
        std::fs::create_dir(&var)?;
        let mut arguments =
            vec!["writer".to_owned(), mode.to_owned(), mode.to_owned(), var.display().to_string()];
        arguments.extend(zeo.clone());
        if mode == "fallback" {
            arguments.extend(zeo_ro.clone());
        }
        let mut client = Script::start("failover.py", arguments)?;
        client.hear("begun")?;
        clients.push(client);
    }
    let var = folder.path().join("reader");
    std::fs::create_dir(&var)?;
    let mut arguments = vec!["reader".to_owned(), var.display().to_string()];
    arguments.extend(zeo_ro);
    let mut reader = Script::start("failover.py", arguments)?;
    reader.hear("begun")?;
    for round in 0..rounds()? {
        all_write(&mut clients, &format!("before-{round}"))?;
        let old = primary(&nodes)?;
        if round % 2 == 0 {
            nodes[old].kill()?;
        } else {
            // It stands still, and does not know that others have gone on.
            nodes[old].server()?.pause()?;
        }
        if round % 2 == 0 {
            all_write(&mut clients, &format!("after-{round}"))?;
            nodes[old].start()?;
        } else {
            // Clients of one that stands still stand still, too: they cannot know.
            poll::until("another primary", poll::PATIENCE, || {
                let others = nodes.iter().enumerate().filter(|(number, _)| *number != old);
                Ok(others.map(|(_, node)| role(node)).any(|role| role == Some(Role::Primary)).then_some(()))
            })?;
            nodes[old].server()?.resume()?;
            all_write(&mut clients, &format!("after-{round}"))?;
        }
        wait_for_followers(&nodes)?;
    }
    for client in clients.iter_mut().chain([&mut reader]) {
        client.tell("stop")?;
    }
    for mut client in clients {
        client.hear("ended at ")?;
        client.end()?;
    }
    reader.hear("read 2 writers")?;
    wait_for_followers(&nodes)?;
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn a_client_whose_transaction_nobody_acknowledges_leaves_a_primary_without_a_lease() -> Result<()> {
    let folder = standby_testbed::place::scratch("failover")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let old = primary(&nodes)?;
    runtime()?.block_on(async {
        let oids = vec![Oid::new(1 << 34)];
        let connection = Connection::open(nodes[old].zeo()).await?;
        let mut committer = Committer::new(connection, 1, oids, 300, Tid::ZERO);
        committer.commit().await?;
        for other in [(old + 1) % 3, (old + 2) % 3] {
            nodes[other].server()?.pause()?;
        }
        let gone = async { while committer.commit().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), gone).await.context("the client waits on")
    })?;
    for other in [(old + 1) % 3, (old + 2) % 3] {
        nodes[other].server()?.resume()?;
    }
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn a_primary_that_is_stopped_does_not_wait_long_for_what_nobody_acknowledges() -> Result<()> {
    let folder = standby_testbed::place::scratch("failover")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let old = primary(&nodes)?;
    let runtime = runtime()?;
    let oids = vec![Oid::new(1 << 34)];
    let connection = runtime.block_on(Connection::open(nodes[old].zeo()))?;
    let mut committer = Committer::new(connection, 1, oids, 300, Tid::ZERO);
    runtime.block_on(committer.commit())?;
    for other in [(old + 1) % 3, (old + 2) % 3] {
        nodes[other].server()?.pause()?;
    }
    let gone = runtime.spawn(async move { while committer.commit().await.is_ok() {} });
    poll::until("a transaction to wait", poll::PATIENCE, || {
        let waiting = nodes[old].status()?.storages[0].acknowledgements.as_ref().map(|acks| acks.waiting);
        Ok(waiting.is_some_and(|waiting| waiting > 0).then_some(()))
    })?;
    let asked = Instant::now();
    nodes[old].stop()?;
    ensure!(asked.elapsed() < Duration::from_secs(6), "it took {:?}", asked.elapsed());
    runtime.block_on(gone)?;
    for other in [(old + 1) % 3, (old + 2) % 3] {
        nodes[other].server()?.resume()?;
    }
    nodes[old].start()?;
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn a_node_that_is_told_whom_to_follow_gets_it_compressed_where_it_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
    let link = Link::to(a.peer())?;
    a.set_advertised(link.address());
    a.configure(Follows::Decided(None))?;
    a.init()?;
    a.start()?;
    primary(std::slice::from_ref(&a))?;
    let client = folder.path().join("client");
    std::fs::create_dir(&client)?;
    let (zeo, client) = (a.zeo().to_string(), client.display().to_string());
    Script::start("replication.py", ["library", &zeo, &client, "30"])?.end()?;

    let mut b = Node::new(folder.path(), "b", Follows::Decided(Some(&a)))?;
    b.set_replication("compression = \"zstd\"");
    b.configure(Follows::Decided(Some(&a)))?;
    b.start()?;
    let mut nodes = [a, b];
    wait_for_followers(&nodes)?;
    let mut bytes = std::fs::metadata(nodes[0].data())?.len();
    for node in &mut nodes {
        node.stop()?;
    }
    let paths = nodes.iter().map(|node| node.data().display().to_string());
    let compared = Script::run("replication.py", std::iter::once("compare".to_owned()).chain(paths))?;
    ensure!(compared.contains("30 blobs are equal"), "{compared}");
    let sizes = Script::run("replication.py", ["blob_bytes", &nodes[0].data().display().to_string()])?;
    let size = sizes.lines().find_map(|line| line.strip_suffix(" bytes")).context("how many bytes")?;
    bytes += size.parse::<u64>()?;
    let passed = link.passed(Way::Back);
    // Two blobs of three are text.
    ensure!(passed > 0 && passed < bytes * 6 / 10, "{passed} bytes instead of {bytes}");
    Ok(())
}

/// How often the primary changes.
fn rounds() -> Result<u64> {
    match std::env::var("STANDBY_FAILOVER_ROUNDS") {
        Ok(rounds) => rounds.parse().context("STANDBY_FAILOVER_ROUNDS is a number"),
        Err(_) => Ok(4),
    }
}

/// Each of them commits something that it begins from now on.
fn all_write(clients: &mut [Script], moment: &str) -> Result<()> {
    clients.iter_mut().try_for_each(|client| client.tell(moment))?;
    clients.iter_mut().try_for_each(|client| client.hear(&format!("wrote {moment}")).map(drop))
}
