//! Health by role, as load balancers ask for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_control::Role;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::{cluster, cluster_with, primary, role, wait_for_followers};
use standby_testbed::http::{Request, Response};
use standby_testbed::link::Link;
use standby_testbed::{place, poll};

const URLS: [&str; 5] = ["/live", "/ready", "/primary", "/replica", "/read-only"];

fn ask(node: &Node, method: &str, target: &str) -> Result<Response> {
    Request::new(method, target).send_to(&node.socket())
}

/// The URLs that are healthy.
fn healthy(node: &Node) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for url in URLS {
        let told = ask(node, "GET", url)?;
        ensure!(told.body.lines().count() == 1, "one line says why: {told:?}");
        match told.status {
            200 => found.push(url),
            503 => {}
            _ => anyhow::bail!("{url}: {told:?}"),
        }
    }
    Ok(found)
}

fn wait_until_healthy(node: &Node, urls: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let waited = poll::until(&format!("{urls:?} of node {}", node.name), poll::PATIENCE, || {
        last = healthy(node)?;
        Ok((last == urls).then_some(()))
    });
    waited.with_context(|| format!("they are {last:?}"))
}

const OF_PRIMARY: [&str; 4] = ["/live", "/ready", "/primary", "/read-only"];
const OF_REPLICA: [&str; 4] = ["/live", "/ready", "/replica", "/read-only"];

#[test]
fn health_is_told_to_every_method_that_load_balancers_use() -> Result<()> {
    let folder = place::scratch("health")?;
    let mut node = Node::new(folder.path(), "a", Follows::Nobody)?;
    node.start()?;
    wait_until_healthy(&node, &OF_PRIMARY)?;
    for method in ["GET", "OPTIONS"] {
        let told = ask(&node, method, "/primary")?;
        ensure!(
            (told.status, &*told.body) == (200, "the primary, which serves read-write clients\n"),
            "{told:?}"
        );
        let told = ask(&node, method, "/replica")?;
        ensure!((told.status, &*told.body) == (503, "it is no replica: the primary\n"), "{told:?}");
    }
    let told = ask(&node, "HEAD", "/primary")?;
    ensure!(told.status == 200 && told.body.is_empty(), "{told:?}");
    ensure!(ask(&node, "HEAD", "/replica")?.status == 503);
    ensure!(ask(&node, "POST", "/primary")?.error()? == "/primary does not take POST");
    for (target, why) in [
        ("/replica?max_lag=10", "expected max_lag=TIME"),
        ("/replica?maxlag=10s", "unknown parameter"),
        ("/primary?max_lag=10s", "/primary takes no max_lag"),
    ] {
        let told = ask(&node, "GET", target)?;
        ensure!(told.status == 400 && told.error()?.contains(why), "{told:?}");
    }
    node.stop()
}

#[test]
fn there_is_one_primary_at_most_through_failovers_and_the_old_one_says_so_at_once() -> Result<()> {
    let folder = place::scratch("health")?;
    let mut nodes = cluster(folder.path(), "")?;
    wait_until_healthy(&nodes[0], &OF_PRIMARY)?;
    wait_until_healthy(&nodes[1], &OF_REPLICA)?;
    wait_until_healthy(&nodes[2], &OF_REPLICA)?;
    // It stands still for longer than its lease, and what it says first afterwards is true.
    let old = primary(&nodes)?;
    nodes[old].server()?.pause()?;
    let others: Vec<usize> = (0..3).filter(|other| *other != old).collect();
    let new = poll::until("another primary", poll::PATIENCE, || {
        Ok(others.iter().copied().find(|other| role(&nodes[*other]) == Some(Role::Primary)))
    })?;
    let mut socket = std::os::unix::net::UnixStream::connect(nodes[old].socket())?;
    std::io::Write::write_all(&mut socket, b"GET /primary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    nodes[old].server()?.resume()?;
    let mut told = String::new();
    std::io::Read::read_to_string(&mut socket, &mut told)?;
    ensure!(told.starts_with("HTTP/1.1 503 "), "{told}");
    wait_until_healthy(&nodes[new], &OF_PRIMARY)?;
    wait_until_healthy(&nodes[old], &OF_REPLICA)?;
    wait_for_followers(&nodes)?;
    // Alone, a node commits nothing, and serves reads.
    let last = primary(&nodes)?;
    for (index, node) in nodes.iter_mut().enumerate() {
        if index != last {
            node.kill()?;
        }
    }
    wait_until_healthy(&nodes[last], &["/live", "/read-only"])?;
    let told = ask(&nodes[last], "GET", "/read-only?max_lag=1h")?;
    ensure!(told.status == 503 && told.body == "it is not known how far behind it is\n", "{told:?}");
    nodes[last].stop()
}

#[test]
fn a_replica_that_is_cut_off_is_healthy_up_to_the_limit_that_is_asked_for() -> Result<()> {
    let folder = place::scratch("health")?;
    let mut a = Node::new(folder.path(), "a", Follows::Nobody)?;
    let link = Link::to(a.peer())?;
    link.cut();
    let mut b = Node::new(folder.path(), "b", Follows::Address(link.address()))?;
    b.start()?;
    // It has nothing yet, and does not know of what.
    wait_until_healthy(&b, &["/live"])?;
    a.start()?;
    link.pass();
    wait_until_healthy(&b, &OF_REPLICA)?;
    let limited =
        |limit: &str| Ok::<_, anyhow::Error>(ask(&b, "GET", &format!("/replica?max_lag={limit}"))?.status);
    ensure!(limited("1s")? == 200, "it follows");
    link.cut();
    poll::until(
        "more than 5 s without a word",
        poll::PATIENCE,
        || Ok((limited("5s")? == 503).then_some(())),
    )?;
    ensure!(limited("1h")? == 200 && healthy(&b)? == OF_REPLICA, "it serves what it has");
    ensure!(ask(&b, "GET", "/read-only?max_lag=5s")?.status == 503);
    link.pass();
    poll::until("its upstream's word", poll::PATIENCE, || Ok((limited("1s")? == 200).then_some(())))?;
    a.stop()?;
    b.stop()
}

#[test]
fn a_witness_is_ready_while_it_knows_the_primary() -> Result<()> {
    let folder = place::scratch("health")?;
    let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
    a.init()?;
    a.start()?;
    let mut witness = Node::new(folder.path(), "w", Follows::Votes(&a))?;
    witness.start()?;
    wait_until_healthy(&witness, &["/live", "/ready"])?;
    witness.stop()?;
    a.stop()
}

/// Asks all nodes again and again while they change roles: no answers of one round name two primaries.
#[test]
fn load_balancers_never_see_two_primaries_through_switchovers() -> Result<()> {
    let folder = place::scratch("health")?;
    let mut nodes = cluster_with(folder.path(), "lease = \"3s\"\n", "")?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sockets: Vec<_> = nodes.iter().map(Node::socket).collect();
    let most = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let is_primary = |socket: &std::path::PathBuf| {
                    Request::new("GET", "/primary").send_to(socket).is_ok_and(|told| told.status == 200)
                };
                // Asked twice around: between the two, each of these was the primary all the time.
                let first: Vec<bool> = sockets.iter().map(is_primary).collect();
                let again: Vec<bool> = sockets.iter().map(is_primary).collect();
                let both = first.iter().zip(&again).filter(|(first, again)| **first && **again).count();
                most = most.max(both);
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let exchanged = (|| {
            for _ in 0..4 {
                wait_for_followers(&nodes)?;
                let wanted = standby_control::Switchover::default();
                poll::until("a switchover", poll::PATIENCE, || {
                    Ok(standby_testbed::decided::change(&nodes[0], "/v1/switchover", &wanted).ok())
                })?;
            }
            Ok::<_, anyhow::Error>(())
        })();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        exchanged.map(|()| watching.join().expect("no panic"))
    })?;
    ensure!(most == 1, "{most} nodes were the primary at one time");
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}
