//! Less frequent verbs of the operator's tool, against a running cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_admin::add::{NewNode, configuration};
use standby_admin::pack;
use standby_control::{Disable, MemberState, Pack, Quieten, Role, Switchover};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{
    change, cluster, commit, primary, role, runtime, stop_with_the_same_history, wait_for_followers,
};
use standby_testbed::{place, poll};

fn refused(done: Result<String>) -> Result<String> {
    match done {
        Ok(done) => anyhow::bail!("it was done: {done}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[test]
fn a_disabled_node_is_neither_promoted_nor_waited_for_until_it_is_enabled() -> Result<()> {
    let folder = place::scratch("disable")?;
    let mut nodes = cluster(folder.path(), "acks = 1\n")?;
    let leader = primary(&nodes)?;
    let (out, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let name = nodes[out].name.clone();
    let wanted = |node: &Node, disabled| Disable { node: node.name.clone(), disabled };
    let told = refused(change(&nodes[out], "/v1/disable", &wanted(&nodes[leader], true)))?;
    ensure!(told.ends_with("is the primary: hand over first"), "{told}");
    change(&nodes[out], "/v1/disable", &wanted(&nodes[out], true))?;
    nodes[leader].wait_for_status("one that counts", |storage| {
        storage.acknowledgements.as_ref().is_some_and(|acks| acks.present == 1)
    })?;
    let to = Switchover { to: Some(name.clone()), timeout_seconds: None, dry_run: true };
    let told = refused(change(&nodes[leader], "/v1/switchover", &to))?;
    ensure!(told.contains(&format!("{name} is disabled")), "{told}");
    commit(&nodes, 1, 3)?;
    // Only the other one counts: with the primary lost, it need not be asked.
    nodes[out].kill()?;
    nodes[leader].kill()?;
    nodes[leader].start()?;
    commit(&nodes, 2, 3)?;
    nodes[out].start()?;
    wait_for_followers(&nodes)?;
    let told = change(&nodes[other], "/v1/disable", &wanted(&nodes[out], false))?;
    ensure!(told == format!("{name} counts again"), "{told}");
    ensure!(change(&nodes[other], "/v1/disable", &wanted(&nodes[out], false))?.ends_with("was not disabled"));
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn a_primary_that_is_silent_is_replaced_and_comes_back_by_itself() -> Result<()> {
    let folder = place::scratch("quiet")?;
    let mut nodes = cluster(folder.path(), "")?;
    commit(&nodes, 1, 3)?;
    wait_for_followers(&nodes)?;
    let silent = primary(&nodes)?;
    let others = [(silent + 1) % 3, (silent + 2) % 3];
    let told = refused(change(&nodes[silent], "/v1/quiet", &Quieten { seconds: 4000.0 }))?;
    ensure!(told.contains("at most 3600"), "{told}");
    change(&nodes[silent], "/v1/quiet", &Quieten { seconds: 600.0 })?;
    ensure!(nodes[silent].status()?.quiet_seconds.is_some_and(|left| left > 500.0), "the status says so");
    poll::until("another primary", poll::PATIENCE, || {
        Ok(others.iter().any(|node| role(&nodes[*node]) == Some(Role::Primary)).then_some(()))
    })?;
    let seen = |nodes: &[Node]| {
        let view = nodes[others[0]].status()?.view.context("a cluster")?;
        let row = view.nodes.into_iter().find(|node| node.name == nodes[silent].name);
        anyhow::Ok(row.context("it belongs")?.state)
    };
    poll::until("it to be missed", poll::PATIENCE, || {
        Ok((seen(&nodes)? == MemberState::Failed).then_some(()))
    })?;
    let asked = runtime()?.block_on(async {
        tokio::time::timeout(Duration::from_secs(2), nodes[silent].last_transaction()).await
    });
    ensure!(asked.is_err(), "its clients are not answered: {asked:?}");
    change(&nodes[silent], "/v1/quiet", &Quieten { seconds: 0.0 })?;
    wait_for_followers(&nodes)?;
    commit(&nodes, 2, 3)?;
    // By itself, too.
    let replica =
        others.into_iter().find(|node| role(&nodes[*node]) == Some(Role::Replica)).context("one")?;
    change(&nodes[replica], "/v1/quiet", &Quieten { seconds: 1.0 })?;
    poll::until("it to be there again", poll::PATIENCE, || {
        Ok(nodes[replica].status()?.quiet_seconds.is_none().then_some(()))
    })?;
    wait_for_followers(&nodes)?;
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn any_node_passes_a_pack_on_and_writes_the_file_of_a_new_node() -> Result<()> {
    let folder = place::scratch("verbs")?;
    let mut nodes = cluster(folder.path(), "")?;
    for node in &mut nodes {
        // What these tests commit is not reachable from a root object.
        let text = std::fs::read_to_string(node.configuration())? + "pack_gc = false\n";
        std::fs::write(node.configuration(), text)?;
        node.stop()?;
        node.start()?;
    }
    commit(&nodes, 1, 20)?;
    wait_for_followers(&nodes)?;
    let asked = (primary(&nodes)? + 1) % 3;
    let unknown = Pack { storage: Some("x".into()), days: 0.0 };
    let told = refused(change(&nodes[asked], "/v1/pack", &unknown))?;
    ensure!(told.contains("there is no storage \"x\": this node has 1"), "{told}");
    let before = nodes[asked].status()?.storages[0].log_bytes;
    change(&nodes[asked], "/v1/pack", &Pack::default())?;
    let done = runtime()?.block_on(pack::wait(&nodes[asked].control(), |_| ()))?;
    ensure!(pack::shown(&done).starts_with("storage 1: packed from "), "{done:?}");
    poll::until("every node to have packed", poll::PATIENCE, || {
        let mut lengths = nodes.iter().map(|node| anyhow::Ok(node.status()?.storages[0].log_bytes));
        Ok(lengths.try_fold(true, |all, length| anyhow::Ok(all && length? < before))?.then_some(()))
    })?;

    let new = |name: &str, is_witness| NewNode {
        name: name.to_owned(),
        address: "127.9.9.9:8200".to_owned(),
        group: None,
        is_witness,
        secret_file: "secret".to_owned(),
    };
    let status = poll::until("all addresses to be known", poll::PATIENCE, || {
        let status = nodes[asked].status()?;
        let known =
            status.view.as_ref().is_some_and(|view| view.nodes.iter().all(|node| node.peer.is_some()));
        Ok(known.then_some(status))
    })?;
    std::fs::write(folder.path().join("secret"), standby_testbed::cluster::SECRET)?;
    for (name, is_witness) in [("d", false), ("w", true)] {
        let text = configuration(&new(name, is_witness), &status)?;
        ensure!(nodes.iter().all(|node| text.contains(&format!("\"{}\"", node.peer()))), "{text}");
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, &text)?;
        let checked =
            std::process::Command::new(place::standby_binary()?).arg("check").arg(&path).output()?;
        ensure!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stdout));
    }
    let told = configuration(&new("b", false), &status).expect_err("it is there").to_string();
    ensure!(told.contains("a node b belongs to the cluster already"), "{told}");
    stop_with_the_same_history(&mut nodes)
}
