//! Nodes that replicate, as processes, with stock clients on them.
//!
//! - `STANDBY_REPLICATION_ROUNDS=N`: how often nodes are killed (default 12).
//! - `STANDBY_SEED=N`: repeats a run's choices. Each run prints its seed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::script::Script;
use standby_testbed::seed::Seed;
use standby_testbed::{place, poll};
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A primary, two replicas, and one that follows the first of them.
fn nodes(folder: &Path, last: fn(&Node) -> Follows<'_>) -> Result<[Node; 4]> {
    let a = Node::new(folder, "a", Follows::Nobody)?;
    let b = Node::new(folder, "b", Follows::Fully(&a))?;
    let c = Node::new(folder, "c", Follows::Fully(&a))?;
    let d = Node::new(folder, "d", last(&b))?;
    let mut nodes = [a, b, c, d];
    for node in &mut nodes {
        node.start()?;
    }
    Ok(nodes)
}

/// Waits until every node serves what the first one has.
fn wait_for_all(nodes: &[Node]) -> Result<()> {
    let runtime = runtime()?;
    let last = runtime.block_on(nodes[0].last_transaction()).context("the primary serves")?;
    for node in &nodes[1..] {
        poll::until(&format!("node {} to have transaction {last}", node.name), poll::PATIENCE, || {
            Ok((runtime.block_on(node.last_transaction()) == Some(last)).then_some(()))
        })
        .with_context(|| node.log().unwrap_or_default())?;
    }
    Ok(())
}

/// The last tid and the running checksum, as `standby verify` finds them.
fn verified(node: &Node) -> Result<(String, String)> {
    let output =
        Command::new(place::standby_binary()?).args(["verify", "--json"]).arg(node.data()).output()?;
    ensure!(output.status.success(), "node {}: {}", node.name, String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    Ok((text("last_tid"), text("checksum")))
}

fn paths(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.data().display().to_string()).collect()
}

/// How long it takes from now until every node serves what the first one has.
fn until_all_have_it(nodes: &[Node]) -> Result<Duration> {
    let begin = Instant::now();
    wait_for_all(nodes)?;
    Ok(begin.elapsed())
}

#[test]
fn every_replica_has_what_the_primary_has_within_a_second_and_zodb_reads_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut nodes = nodes(folder.path(), |b| Follows::Fully(b))?;
    let (zeo, client) = (nodes[0].zeo().to_string(), folder.path().display().to_string());
    let mut writers = Vec::new();
    for name in ["poems", "novels", "plays"] {
        let mut writer = Script::start("replication.py", ["shelf", &zeo, &client, name])?;
        writer.hear("begun")?;
        writers.push(writer);
    }
    let mut delays = Vec::new();
    for _ in 0..5 {
        writers.iter_mut().try_for_each(|writer| writer.tell("go"))?;
        writers.iter_mut().try_for_each(|writer| writer.hear("written").map(drop))?;
        delays.push(until_all_have_it(&nodes)?);
        let end = verified(&nodes[0])?;
        for node in &nodes[1..] {
            assert_eq!(verified(node)?, end, "node {}", node.name);
        }
    }
    // The machine may have been busy with something else, but not in most of the rounds.
    println!("every replica had everything after {delays:?}");
    delays.sort();
    ensure!(delays[2] < Duration::from_secs(1), "every replica had everything after {delays:?}");
    for mut writer in writers {
        writer.tell("stop")?;
        writer.end()?;
    }
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["compare".to_owned()];
    arguments.extend(paths(&nodes));
    let said = Script::run("replication.py", arguments)?;
    ensure!(said.contains(" and 60 blobs are equal"), "{said}");
    Ok(())
}

#[test]
fn a_fast_recovery_brings_what_is_current_and_goes_on_from_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    a.start()?;
    let client = folder.path().join("client");
    std::fs::create_dir(&client)?;
    let site =
        || Script::run("replication.py", ["site", &a.zeo().to_string(), &client.display().to_string()]);
    site()?;
    let mut b = Node::new(folder.path(), "b", Follows::Fast(&a))?;
    b.start()?;
    site()?;
    let mut nodes = [a, b];
    wait_for_all(&nodes)?;
    assert_eq!(verified(&nodes[1])?, verified(&nodes[0])?);
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["current".to_owned()];
    arguments.extend(paths(&nodes));
    Script::run("replication.py", arguments)?;
    Ok(())
}

#[test]
fn undo_reaches_behind_a_fast_recovery_at_the_primary_and_is_refused_at_the_copy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fast(&a))?;
    let mut c = Node::new(folder.path(), "c", Follows::Fully(&b))?;
    a.start()?;
    let said = Script::run("replication.py", ["history", &a.zeo().to_string()])?;
    let old = said.lines().find_map(|line| line.strip_prefix("undo ")).context("what was undone")?;
    b.start()?;
    c.start()?;
    let mut nodes = [a, b, c];
    wait_for_all(&nodes)?;
    // It leads to a revision that the copies were never sent.
    Script::run("replication.py", ["undo", &nodes[0].zeo().to_string()])?;
    wait_for_all(&nodes)?;
    for node in &nodes[1..] {
        assert_eq!(verified(node)?, verified(&nodes[0])?, "node {}", node.name);
    }
    nodes[0].stop()?;
    nodes[1].stop()?;
    nodes[1].configure(Follows::Nobody)?;
    nodes[1].start()?;
    let scratch = folder.path().display().to_string();
    Script::run("replication.py", ["refuse", &nodes[1].zeo().to_string(), &scratch, old])?;
    // The one that has every revision goes on with the one that has not.
    nodes[0].configure(Follows::Fully(&nodes[1]))?;
    nodes[0].start()?;
    nodes.swap(0, 1);
    wait_for_all(&nodes)?;
    for node in &nodes[1..] {
        assert_eq!(verified(node)?, verified(&nodes[0])?, "node {}", node.name);
    }
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["current".to_owned()];
    arguments.extend(paths(&nodes));
    Script::run("replication.py", arguments)?;
    Ok(())
}

#[test]
fn clients_of_a_replica_see_every_change_whole_and_in_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let nodes = nodes(folder.path(), |b| Follows::Fully(b))?;
    let mut writer = Script::start("replication.py", ["writer", &nodes[0].zeo().to_string()])?;
    writer.hear("begun")?;
    let mut readers = Vec::new();
    for node in &nodes[1..] {
        let mut reader = Script::start("replication.py", ["reader", &node.zeo_ro().to_string()])?;
        reader.hear("reading")?;
        readers.push(reader);
    }
    let runtime = runtime()?;
    let begun = runtime.block_on(nodes[3].last_transaction());
    poll::until("changes to arrive at the last replica", poll::PATIENCE, || {
        let last = runtime.block_on(nodes[3].last_transaction());
        let seconds = |tid: Option<Tid>| tid.map_or(0.0, Tid::unix_seconds);
        Ok((seconds(last) > seconds(begun) + 3.0).then_some(()))
    })?;
    writer.tell("stop")?;
    let stamp = format!("stamp {}", writer.hear("stamp ")?);
    for reader in &mut readers {
        reader.tell(&stamp)?;
        reader.hear("seen ")?;
    }
    Ok(())
}

/// Commits until it is told to stop; returns the last acknowledged transaction of all.
async fn commit_until(
    nodes_zeo: std::net::SocketAddr,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Result<Tid> {
    let mut last = Tid::ZERO;
    let mut series = 0;
    while !*stop.borrow() {
        series += 1;
        let Ok(connection) = Connection::open(nodes_zeo).await else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let oids = (0..5).map(|place| Oid::new((1 << 33) + series * 10 + place)).collect();
        let mut committer = Committer::new(connection, series, oids, 300, Tid::ZERO);
        while !*stop.borrow() {
            match committer.commit().await {
                Ok(written) => last = written.tid,
                Err(_) => break, // the primary was killed
            }
        }
    }
    Ok(last)
}

#[test]
fn nodes_that_are_killed_again_and_again_lose_nothing() -> Result<()> {
    let rounds: u64 = match std::env::var("STANDBY_REPLICATION_ROUNDS") {
        Ok(rounds) => rounds.parse().context("STANDBY_REPLICATION_ROUNDS is a number")?,
        Err(_) => 12,
    };
    let mut seed = Seed::announced();
    let folder = tempfile::tempdir()?;
    let mut nodes = nodes(folder.path(), |b| Follows::Fully(b))?;
    let runtime = runtime()?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let committing = runtime.spawn(commit_until(nodes[0].zeo(), stopped));
    let waiting = self::runtime()?;
    for round in 0..rounds {
        let victim = seed.pick(0..4) as usize;
        let before = waiting.block_on(nodes[3].last_transaction());
        poll::until("the stream to go on", poll::PATIENCE, || {
            let now = waiting.block_on(nodes[3].last_transaction());
            Ok((now.is_some() && now > before).then_some(()))
        })
        .with_context(|| format!("round {round}: {}", nodes[3].log().unwrap_or_default()))?;
        nodes[victim].kill()?;
        nodes[victim].start()?;
    }
    stop.send_replace(true);
    let acknowledged = runtime.block_on(committing)??;
    wait_for_all(&nodes)?;
    let end = verified(&nodes[0])?;
    ensure!(end.0 >= acknowledged.to_string(), "{acknowledged} was acknowledged; the end is {}", end.0);
    for node in &nodes[1..] {
        assert_eq!(verified(node)?, end, "node {}", node.name);
    }
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["compare".to_owned()];
    arguments.extend(paths(&nodes));
    Script::run("replication.py", arguments)?;
    Ok(())
}

/// Commits so many transactions of five objects. Returns the last.
fn commit(node: &Node, series: u64, count: u64) -> Result<Tid> {
    runtime()?.block_on(async {
        let connection = Connection::open(node.zeo()).await?;
        let oids = (0..5).map(|place| Oid::new((1 << 34) + series * 10 + place)).collect();
        let mut committer = Committer::new(connection, series, oids, 300, Tid::ZERO);
        let mut last = Tid::ZERO;
        for _ in 0..count {
            last = committer.commit().await?.tid;
        }
        Ok(last)
    })
}

#[test]
fn a_pack_of_the_primary_is_one_of_its_replicas_and_of_theirs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut nodes = nodes(folder.path(), |b| Follows::Fully(b))?;
    let client = folder.path().join("client");
    std::fs::create_dir(&client)?;
    Script::run("replication.py", ["site", &nodes[0].zeo().to_string(), &client.display().to_string()])?;
    wait_for_all(&nodes)?;
    let before = std::fs::metadata(nodes[3].data())?.len();
    Script::run("replication.py", ["pack", &nodes[0].zeo().to_string()])?;
    let packed = std::fs::metadata(nodes[0].data())?.len();
    ensure!(packed < before, "the pack has nothing to do");
    for node in &nodes[1..] {
        poll::until(&format!("node {} to be packed", node.name), poll::PATIENCE, || {
            Ok((std::fs::metadata(node.data())?.len() == packed).then_some(()))
        })
        .with_context(|| node.log().unwrap_or_default())?;
    }
    // Nobody holds on to the log of before, also when nothing more is committed.
    for node in &mut nodes {
        let name = node.name.clone();
        let server = node.server()?;
        poll::until(&format!("node {name} to close the log of before"), poll::PATIENCE, || {
            let open = server.open_files()?;
            let is_old =
                |path: &String| path.ends_with("/Data.fs.old") || path.ends_with("/Data.fs (deleted)");
            Ok((!open.iter().any(is_old)).then_some(()))
        })?;
    }
    commit(&nodes[0], 1, 5)?;
    wait_for_all(&nodes)?;
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["compare".to_owned()];
    arguments.extend(paths(&nodes));
    Script::run("replication.py", arguments)?;
    Ok(())
}

#[test]
fn a_replica_that_was_away_for_longer_than_the_log_reaches_back_begins_anew() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    let client = folder.path().join("client");
    std::fs::create_dir(&client)?;
    let mut nodes = [a, b];
    let site = |node: &Node| {
        Script::run("replication.py", ["site", &node.zeo().to_string(), &client.display().to_string()])
    };
    site(&nodes[0])?;
    wait_for_all(&nodes)?;
    nodes[1].stop()?;
    site(&nodes[0])?;
    Script::run("replication.py", ["pack", &nodes[0].zeo().to_string()])?;
    nodes[1].start()?;
    wait_for_all(&nodes)?;
    assert_eq!(verified(&nodes[1])?.1, verified(&nodes[0])?.1);
    let home = nodes[1].data().parent().context("a folder")?.to_owned();
    let aside: Vec<_> = std::fs::read_dir(&home)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    ensure!(aside.iter().any(|name| name.to_string_lossy().contains("aside")), "{aside:?}");
    for node in &mut nodes {
        node.stop()?;
    }
    let mut arguments = vec!["current".to_owned()];
    arguments.extend(paths(&nodes));
    Script::run("replication.py", arguments)?;
    Ok(())
}

#[test]
fn a_node_that_cannot_commit_withholds_the_greeting_and_answers_for_its_health() -> Result<()> {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir()?;
    let a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Fully(&a))?;
    b.start()?; // its upstream does not run
    let connect = || -> Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(b.zeo())?;
        stream.set_read_timeout(Some(poll::PATIENCE))?;
        Ok(stream)
    };
    let mut parked = connect()?;
    let mut healthy = connect()?;
    healthy.write_all(b"\0\0\0\x04ruok")?;
    let mut answer = Vec::new();
    healthy.read_to_end(&mut answer)?;
    let status: serde_json::Value = serde_json::from_slice(answer.get(4..).context("a frame")?)?;
    ensure!(status["1"].is_object(), "{status}");
    // By now the other one would have been greeted, if at all.
    parked.set_nonblocking(true)?;
    let greeted = parked.read(&mut [0; 64]);
    ensure!(
        greeted.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "it was greeted, or closed"
    );
    Ok(())
}
