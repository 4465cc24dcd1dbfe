//! Primary and replica are exchanged by their operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_control::{Ban, Pause, Role, Switchover};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{
    change, cluster, cluster_with, primary, role, runtime, stop_with_the_same_history, wait_for_followers,
};
use standby_testbed::poll;
use standby_testbed::script::Script;

fn switchover(asked: &Node, to: Option<&Node>, dry_run: bool) -> Result<String> {
    let to = to.map(|node| node.name.clone());
    let wanted = Switchover { to, timeout_seconds: Some(10.0), dry_run };
    change(asked, "/v1/switchover", &wanted)
}

fn told_against(done: Result<String>) -> Result<String> {
    match done {
        Ok(done) => anyhow::bail!("it was done: {done}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[test]
fn stock_clients_write_on_through_switchovers_and_nothing_is_lost() -> Result<()> {
    let folder = standby_testbed::place::scratch("switchover")?;
    let mut nodes = cluster(folder.path(), "")?;
    let mut clients = Vec::new();
    for number in 0..3 {
        let name = format!("writer-{number}");
        let var = folder.path().join(&name);
        std::fs::create_dir(&var)?;
        let mut arguments = vec!["writer".to_owned(), "plain".to_owned(), name, var.display().to_string()];
        arguments.extend(nodes.iter().map(|node| node.zeo().to_string()));
        let mut client = Script::start("failover.py", arguments)?;
        client.hear("begun")?;
        clients.push(client);
    }
    for round in 0..6 {
        let old = primary(&nodes)?;
        let to = (old + 1) % 3;
        let asked = round % 3; // any node passes it on
        clients.iter_mut().try_for_each(|client| client.tell(&format!("before-{round}")))?;
        clients.iter_mut().try_for_each(|client| client.hear(&format!("wrote before-{round}")).map(drop))?;
        wait_for_followers(&nodes)?;
        // On a busy machine a lease may end by itself just then.
        let done = poll::until("a switchover", poll::PATIENCE, || {
            match switchover(&nodes[asked], Some(&nodes[to]), false) {
                Err(error) if error.to_string().contains("just now") => Ok(None),
                done => done.map(Some),
            }
        })?;
        clients.iter_mut().try_for_each(|client| client.tell(&format!("after-{round}")))?;
        for client in &mut clients {
            eprintln!("{done}; {}", client.hear(&format!("wrote after-{round}"))?);
        }
        ensure!(primary(&nodes)? == to, "another is the primary");
    }
    for mut client in clients {
        client.tell("stop")?;
        client.hear("ended at ")?;
        client.end()?;
    }
    wait_for_followers(&nodes)?;
    stop_with_the_same_history(&mut nodes)?;
    for node in &nodes {
        let lost = node.data().with_extension("fs.standby").join("lost");
        ensure!(
            !lost.exists() || lost.read_dir()?.next().is_none(),
            "{} lost something:\n{}",
            node.name,
            node.log()?
        );
    }
    Ok(())
}

#[test]
fn read_only_clients_stay_connected_through_a_switchover_and_are_told_of_it() -> Result<()> {
    let folder = standby_testbed::place::scratch("switchover")?;
    let mut nodes = cluster_with(folder.path(), "lease = \"6s\"\n", "")?;
    let old = primary(&nodes)?;
    let to = (old + 1) % 3;
    let mut writer = Script::start("gossip.py", ["watch", &nodes[old].zeo().to_string(), "M", "writer"])?;
    for (word, answer) in [("commit", "committed"), ("stop", "done")] {
        writer.tell(word)?;
        writer.hear(answer)?;
    }
    writer.end()?;
    wait_for_followers(&nodes)?;
    let mut readers = Vec::new();
    for node in &nodes {
        let mut reader = Script::start("gossip.py", ["watch", &node.zeo_ro().to_string(), "M", "reader"])?;
        reader.hear("connected")?;
        readers.push(reader);
    }
    let name = nodes[to].name.clone();
    switchover(&nodes[old], Some(&nodes[to]), false)?;
    for mut reader in readers {
        poll::until("the reader to be told of the new primary", poll::PATIENCE, || {
            reader.tell("told?")?;
            let told: serde_json::Value = serde_json::from_str(&reader.hear("told: ")?)?;
            Ok((told["primary"] == name.as_str() && told["epoch"] == 2).then_some(()))
        })?;
        // It fails here if it was ever disconnected.
        reader.tell("stop")?;
        reader.end()?;
    }
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn what_speaks_against_a_switchover_is_named_and_nothing_changes() -> Result<()> {
    let folder = standby_testbed::place::scratch("switchover")?;
    let mut nodes = cluster_with(folder.path(), "lease = \"6s\"\n", "")?;
    let [a, b, c] = &nodes;
    let told = switchover(b, None, true)?;
    ensure!(told == "nothing is in the way of b becoming the primary", "{told}");
    ensure!(primary(&nodes)? == 0, "a dry run changes nothing");
    let told = told_against(switchover(b, Some(a), false))?;
    ensure!(told == "refused: a: a is the primary", "{told}");
    change(c, "/v1/ban", &Ban { node: "b".to_owned(), banned: true })?;
    let told = told_against(switchover(a, Some(b), true))?;
    ensure!(told == "refused: a: b is banned", "{told}");
    ensure!(switchover(c, None, true)?.contains(" c "), "the banned one is not chosen");
    change(c, "/v1/ban", &Ban { node: "b".to_owned(), banned: false })?;
    let unknown = Switchover { to: Some("x".into()), ..Switchover::default() };
    let told = told_against(change(a, "/v1/switchover", &unknown))?;
    ensure!(told == "refused: no node \"x\" belongs to the cluster: there are a, b, c", "{told}");

    // The target stands still: it is given up, and the old primary goes on.
    nodes[1].server()?.pause()?;
    let wanted = Switchover { to: Some("b".into()), timeout_seconds: Some(0.5), dry_run: false };
    let told = told_against(change(&nodes[2], "/v1/switchover", &wanted));
    nodes[1].server()?.resume()?;
    // With nothing to send, a node that stands still has everything; then it is promoted, and another takes over.
    match told {
        Ok(told) => ensure!(told.contains("nothing has changed"), "{told}"),
        Err(_) => poll::until("a primary", poll::PATIENCE, || {
            Ok(nodes.iter().any(|node| role(node) == Some(Role::Primary)).then_some(()))
        })?,
    }
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn while_failover_is_paused_nobody_takes_the_place_of_a_primary_that_is_gone() -> Result<()> {
    let folder = standby_testbed::place::scratch("pause")?;
    let mut nodes = cluster(folder.path(), "")?;
    change(&nodes[1], "/v1/pause", &Pause { paused: true })?;
    nodes[0].kill()?;
    let mut replies = 0;
    // Twenty times: several leases long.
    poll::until("answers of the others", poll::PATIENCE, || {
        let roles: Vec<_> = nodes[1..].iter().filter_map(role).collect();
        ensure!(!roles.contains(&Role::Primary), "somebody was promoted: {roles:?}");
        replies += 1;
        std::thread::sleep(Duration::from_millis(200));
        Ok((replies == 20).then_some(()))
    })?;
    let history = runtime()?.block_on(nodes[2].control().history())?;
    let last = history.happenings.last().context("it says what happened")?;
    ensure!(last.text == "automatic failover was turned off" && last.by.ends_with(" at b"), "{last:?}");
    change(&nodes[2], "/v1/pause", &Pause { paused: false })?;
    poll::until("another primary", poll::PATIENCE, || {
        Ok(nodes[1..].iter().any(|node| role(node) == Some(Role::Primary)).then_some(()))
    })?;
    nodes[0].start()?;
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}
