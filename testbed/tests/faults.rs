//! What goes wrong between two nodes: what a replica makes of it, and what it says of itself meanwhile.
//!
//! - `STANDBY_FAULT_ROUNDS=N`: how often nodes with blobs are killed (default 8).
//! - `STANDBY_SEED=N`: repeats a run's choices. Each run prints its seed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_control::{CopyState, StorageStatus, UpstreamStatus};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::link::{Link, Way};
use standby_testbed::namespace::Namespace;
use standby_testbed::poll;
use standby_testbed::script::Script;
use standby_testbed::seed::Seed;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Commits so many transactions of three objects. Returns the last.
fn commit(node: &Node, series: u64, count: u64) -> Result<Tid> {
    runtime()?.block_on(async {
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

/// Waits until a node serves a transaction.
fn wait_for(node: &Node, last: Tid) -> Result<()> {
    let last = last.to_string();
    node.wait_for_status(&format!("transaction {last}"), |told| told.last_tid == last)?;
    Ok(())
}

/// A primary, a link to it, and a replica that follows over the link and has what the primary has.
fn over_a_link(folder: &std::path::Path) -> Result<(Node, Link, Node)> {
    let mut a = Node::new(folder, "a", Follows::Nobody)?;
    let link = Link::to(a.peer())?;
    let mut b = Node::new(folder, "b", Follows::Address(link.address()))?;
    a.start()?;
    b.start()?;
    let last = commit(&a, 1, 20)?;
    wait_for(&b, last)?;
    Ok((a, link, b))
}

fn upstream(told: &StorageStatus) -> &UpstreamStatus {
    told.upstream.as_ref().expect("a replica follows")
}

/// What is on the disk of each node is what is on that of the first.
fn ensure_same(nodes: &[&Node]) -> Result<()> {
    let end = nodes[0].verified()?;
    for node in &nodes[1..] {
        assert_eq!(node.verified()?, end, "node {}", node.name);
    }
    Ok(())
}

#[test]
fn a_replica_whose_link_is_cut_serves_on_says_so_and_catches_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, link, b) = over_a_link(folder.path())?;
    let had = runtime()?.block_on(b.last_transaction()).context("it serves")?;
    link.cut();
    let begin = link.attempts().len();
    let last = commit(&a, 2, 20)?;
    let told = b.wait_for_status("that it is cut off", |told| {
        !upstream(told).connected && upstream(told).trouble.is_some()
    })?;
    ensure!(told.state == CopyState::Serving && upstream(&told).heard.is_some(), "{told:?}");
    ensure!(runtime()?.block_on(b.last_transaction()) == Some(had), "it serves what it has");
    // Each wait is up to twice the one before, less up to a half.
    let attempts = poll::until("it to try again and again", poll::PATIENCE, || {
        let attempts = link.attempts().split_off(begin);
        Ok((attempts.len() > 5).then_some(attempts))
    })?;
    let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    ensure!(waits[4] > waits[1] * 2, "it tries again without backing off: {waits:?}");
    link.pass();
    wait_for(&b, last)?;
    let told = b.wait_for_status("that all is well", |told| upstream(told).trouble.is_none())?;
    ensure!(upstream(&told).connected, "{told:?}");
    ensure_same(&[&a, &b])
}

#[test]
fn a_replica_that_hears_nothing_any_more_says_so_and_looks_for_its_upstream_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, both, b) = over_a_link(folder.path())?;
    let one_way = Link::to(a.peer())?;
    let mut c = Node::new(folder.path(), "c", Follows::Address(one_way.address()))?;
    c.start()?;
    wait_for(&c, commit(&a, 2, 5)?)?;
    both.stall(Way::Both);
    one_way.stall(Way::There); // it hears the primary, which does not hear it
    let begin = Instant::now();
    let last = commit(&a, 3, 20)?;
    let silent = b.wait_for_status("that it hears nothing", |told| {
        upstream(told).heard.is_some_and(|seconds| seconds > 4.0)
    })?;
    ensure!(silent.state == CopyState::Serving, "{silent:?}");
    let text = standby_admin::style::plain(&standby_admin::status::shown(&b.status()?));
    ensure!(text.contains("follows         a: SILENT for "), "{text}");
    let told = b.wait_for_status("that it is cut off", |told| !upstream(told).connected)?;
    let trouble = upstream(&told).trouble.as_deref().unwrap_or_default();
    ensure!(trouble.contains("the peer was silent for 15s"), "{trouble}");
    ensure!(begin.elapsed() < Duration::from_secs(18), "{:?}", begin.elapsed());
    a.wait_for_log("the peer was silent for 15s")?;
    both.pass();
    one_way.pass();
    wait_for(&b, last)?;
    wait_for(&c, last)?;
    ensure_same(&[&a, &b, &c])
}

#[test]
fn a_replica_whose_cable_is_pulled_says_so_and_catches_up_when_it_is_plugged_in() -> Result<()> {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(error) => {
            eprintln!("skipped: network namespaces cannot be used here: {error:#}");
            return Ok(());
        }
    };
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    a.set_address(namespace.outside);
    a.configure(Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Nobody)?;
    b.set_namespace(&namespace.name, namespace.inside);
    b.configure(Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    wait_for(&b, commit(&a, 1, 20)?)?;
    namespace.unplug()?;
    let last = commit(&a, 2, 20)?;
    let told = b.wait_for_status("that it is cut off", |told| !upstream(told).connected)?;
    ensure!(told.state == CopyState::Serving && upstream(&told).trouble.is_some(), "{told:?}");
    namespace.plug_in()?;
    wait_for(&b, last)?;
    ensure_same(&[&a, &b])
}

#[test]
fn a_bit_that_changes_on_its_way_ends_the_connection_and_nothing_wrong_is_applied() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, link, b) = over_a_link(folder.path())?;
    let mut series = 1;
    // In the middle of transactions; in the length of a record; in what the replica says; in a handshake.
    for (way, after, handshake) in
        [(Way::Back, 9_000, false), (Way::Back, 0, false), (Way::There, 20, false), (Way::Back, 20, true)]
    {
        let connections = link.attempts().len();
        link.flip_a_bit(way, after);
        if handshake {
            link.cut();
            link.pass();
        }
        poll::until(&format!("the bit {after} {way:?} to change"), poll::PATIENCE, || {
            series += 1;
            commit(&a, series, 5)?;
            Ok(link.has_flipped().then_some(()))
        })?;
        poll::until("it to connect again", poll::PATIENCE, || {
            // A length that changed is found when the rest of what it announces has come.
            series += 1;
            commit(&a, series, 20)?;
            Ok((link.attempts().len() > connections).then_some(()))
        })
        .with_context(|| format!("{after} {way:?}\n{}", b.log().unwrap_or_default()))?;
        series += 1;
        wait_for(&b, commit(&a, series, 5)?)?;
    }
    b.wait_for_log("was changed on its way")?;
    a.wait_for_log("was changed on its way")?;
    ensure_same(&[&a, &b])
}

/// A stock client that writes up to so many books with blobs.
fn library(a: &Node, folder: &std::path::Path, most: u64) -> Result<Script> {
    std::fs::create_dir_all(folder)?;
    let arguments = [a.zeo().to_string(), folder.display().to_string(), most.to_string()];
    let mut script = Script::start("replication.py", ["library".to_owned()].into_iter().chain(arguments))?;
    script.hear("begun")?;
    Ok(script)
}

/// Waits until the others have what the first serves, stops them, and compares their files and blobs.
fn compare(nodes: &mut [&mut Node]) -> Result<()> {
    let last = runtime()?.block_on(nodes[0].last_transaction()).context("the primary serves")?;
    for node in &nodes[1..] {
        wait_for(node, last)?;
    }
    let mut arguments = vec!["compare".to_owned()];
    for node in nodes {
        node.stop()?;
        arguments.push(node.data().display().to_string());
    }
    Script::run("replication.py", arguments)?;
    Ok(())
}

#[test]
fn what_is_compressed_on_its_way_arrives_as_it_was_with_less_traffic() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let (plain, compressed) = (Link::to(a.peer())?, Link::to(a.peer())?);
    let mut b = Node::new(folder.path(), "b", Follows::Address(plain.address()))?;
    let mut c = Node::new(folder.path(), "c", Follows::Nobody)?;
    c.set_upstream("compression = \"zstd\"");
    c.configure(Follows::Address(compressed.address()))?;
    a.start()?;
    library(&a, &folder.path().join("client"), 30)?.end()?;
    b.start()?;
    c.start()?;
    compare(&mut [&mut a, &mut b, &mut c])?;
    let (plain, compressed) = (plain.passed(Way::Back), compressed.passed(Way::Back));
    // Two blobs of three are text.
    ensure!(compressed < plain * 6 / 10, "{compressed} bytes instead of {plain}");
    Ok(())
}

#[test]
fn blobs_and_their_transactions_survive_kills_of_either_side() -> Result<()> {
    let rounds: u64 = match std::env::var("STANDBY_FAULT_ROUNDS") {
        Ok(rounds) => rounds.parse().context("STANDBY_FAULT_ROUNDS is a number")?,
        Err(_) => 8,
    };
    let mut seed = Seed::announced();
    let folder = tempfile::tempdir()?;
    let a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let mut b = Node::new(folder.path(), "b", Follows::Nobody)?;
    b.set_upstream("compression = \"zstd\"");
    b.configure(Follows::Fully(&a))?;
    let c = Node::new(folder.path(), "c", Follows::Fully(&b))?;
    let mut nodes = [a, b, c];
    for node in &mut nodes {
        node.start()?;
    }
    let mut books = library(&nodes[0], &folder.path().join("client"), u64::MAX)?;
    let watching = runtime()?;
    for round in 0..rounds {
        let before = watching.block_on(nodes[2].last_transaction());
        poll::until("books to arrive at the last replica", poll::PATIENCE, || {
            let now = watching.block_on(nodes[2].last_transaction());
            Ok((now.is_some() && now > before).then_some(()))
        })
        .with_context(|| format!("round {round}: {}", nodes[2].log().unwrap_or_default()))?;
        let victim = &mut nodes[seed.pick(0..3) as usize];
        victim.kill()?;
        victim.start()?;
    }
    books.tell("stop")?;
    books.end()?;
    let [a, b, c] = &mut nodes;
    compare(&mut [a, b, c])
}
