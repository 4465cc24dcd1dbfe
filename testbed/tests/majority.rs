//! Clusters that have just enough voters, and clusters that have lost too many.

use anyhow::{Result, ensure};
use standby_control::{Forget, Promotion, Role};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::{
    bring_back_the_others, change, cluster, commit, go_on_with, lose_the_majority, primary, role, runtime,
    stop_with_the_same_history, wait_for_followers, wait_for_losses,
};
use standby_testbed::poll;
use standby_testbed::script::Script;

fn history(node: &Node) -> Result<Vec<String>> {
    let history = runtime()?.block_on(node.control().history())?;
    Ok(history.happenings.into_iter().map(|entry| entry.text).collect())
}

#[test]
fn two_nodes_with_data_and_a_witness_may_lose_one_of_them() -> Result<()> {
    let folder = standby_testbed::place::scratch("witness")?;
    let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
    a.init()?;
    a.start()?;
    let mut b = Node::new(folder.path(), "b", Follows::Decided(Some(&a)))?;
    let mut witness = Node::new(folder.path(), "w", Follows::Votes(&a))?;
    b.start()?;
    witness.start()?;
    poll::until("the witness to be counted", poll::PATIENCE, || {
        Ok(history(&a)?.contains(&"w joined, in group local".to_owned()).then_some(()))
    })?;
    let mut nodes = [a, b];
    wait_for_followers(&nodes)?;
    for round in 0..3 {
        let before = commit(&nodes, round, 5)?;
        let old = primary(&nodes)?;
        nodes[old].kill()?;
        let after = commit(&nodes, 10 + round, 5)?;
        ensure!(after > before, "tids grow");
        nodes[old].start()?;
        wait_for_followers(&nodes)?;
        // It keeps its word through restarts, too.
        witness.kill()?;
        witness.start()?;
    }
    ensure!(role(&witness) == Some(Role::Witness));
    witness.stop()?;
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn an_operator_goes_on_with_one_node_that_is_left_and_the_others_find_out_and_join_it() -> Result<()> {
    let folder = standby_testbed::place::scratch("majority")?;
    let mut nodes = cluster(folder.path(), "")?;
    commit(&nodes, 1, 10)?;
    let left = lose_the_majority(&mut nodes, |nodes, _| commit(nodes, 2, 7).map(drop))?;
    let wanted = Promotion { node: nodes[left].name.clone(), force: false, without_majority: true };
    let told = change(&nodes[left], "/v1/promote", &wanted).expect_err("it must be forced").to_string();
    ensure!(told.contains("must be forced"), "{told}");
    go_on_with(&nodes, left)?;
    commit(&nodes, 3, 5)?;
    bring_back_the_others(&mut nodes, left)?;
    wait_for_losses(&nodes, 2)?;

    // The cluster is whole again: it may lose a node.
    nodes[left].kill()?;
    commit(&nodes, 4, 5)?;
    nodes[left].start()?;
    wait_for_followers(&nodes)?;
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn a_client_that_has_seen_lost_transactions_drops_what_they_wrote_and_keeps_the_rest() -> Result<()> {
    let folder = standby_testbed::place::scratch("lost-cache")?;
    let mut nodes = cluster(folder.path(), "")?;
    let cache = folder.path().join("client");
    std::fs::create_dir(&cache)?;
    let cache = cache.to_str().expect("the folder's name is text");
    Script::run("cache.py", ["fill", &nodes[primary(&nodes)?].zeo().to_string()])?;
    let left = lose_the_majority(&mut nodes, |nodes, primary| {
        let address = nodes[primary].zeo().to_string();
        Script::run("cache.py", ["change", &address])?;
        Script::run("cache.py", ["comes-back", &address, cache, "all"]).map(drop)
    })?;
    go_on_with(&nodes, left)?;
    bring_back_the_others(&mut nodes, left)?;
    wait_for_losses(&nodes, 2)?;
    Script::run("cache.py", ["lost", &nodes[left].zeo().to_string(), cache])?;
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn a_node_that_was_removed_counts_no_more_and_does_not_come_back() -> Result<()> {
    let folder = standby_testbed::place::scratch("forget")?;
    let mut nodes = cluster(folder.path(), "")?;
    let leader = primary(&nodes)?;
    let gone = (leader + 1) % 3;
    let forget = |node: &Node| Forget { node: node.name.clone() };
    let told = change(&nodes[gone], "/v1/forget", &forget(&nodes[leader])).expect_err("it is needed");
    ensure!(told.to_string().contains("is the primary: hand over first"), "{told}");
    nodes[gone].kill()?;
    let told = change(&nodes[leader], "/v1/forget", &forget(&nodes[gone]))?;
    ensure!(told.ends_with("does not belong to the cluster any more"), "{told}");
    nodes[gone].start()?;
    poll::until("it to be told", poll::PATIENCE, || {
        Ok(nodes[gone].log()?.contains("this node was removed from the cluster").then_some(()))
    })?;
    ensure!(role(&nodes[gone]) != Some(Role::Primary));
    nodes[gone].kill()?;
    // As a new node it may join.
    std::fs::remove_file(nodes[gone].data().with_extension("fs.control.redb"))?;
    nodes[gone].start()?;
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}
