//! What Prometheus is told.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use standby_control::Pause;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::{change, cluster, commit, primary, wait_for_followers};
use standby_testbed::http::{Request, get};
use standby_testbed::{place, poll};

/// The values of a node's metrics, by their names and labels.
fn metrics(node: &Node) -> Result<(String, BTreeMap<String, f64>)> {
    let told = Request::new("GET", "/metrics").send_to(&node.socket())?;
    ensure!(told.status == 200, "{told:?}");
    ensure!(told.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"), "{told:?}");
    let samples = told.body.lines().filter(|line| !line.starts_with('#'));
    let values = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        Ok((name.to_owned(), value.parse()?))
    });
    let values = values.collect::<Result<_>>()?;
    Ok((told.body, values))
}

fn wait_for_value(node: &Node, name: &str, value: f64) -> Result<()> {
    let mut last = None;
    let waited = poll::until(&format!("{name} {value} of node {}", node.name), poll::PATIENCE, || {
        last = metrics(node)?.1.get(name).copied();
        Ok((last == Some(value)).then_some(()))
    });
    waited.with_context(|| format!("it is {last:?}"))
}

/// Has Prometheus' own tool look at a text.
fn accepted_by_promtool(text: &str) -> Result<()> {
    let Some(promtool) = place::program("promtool", "prometheus") else { return Ok(()) };
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn()?;
    check.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = check.wait_with_output()?;
    let told = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success() && told.is_empty(), "promtool: {}\n{told}\n{text}", output.status);
    Ok(())
}

#[test]
fn promtool_accepts_the_metrics_of_every_role() -> Result<()> {
    let folder = place::scratch("metrics")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    commit(&nodes, 1, 5)?;
    let mut witness = Node::new(folder.path(), "w", Follows::Votes(&nodes[0]))?;
    witness.start()?;
    wait_for_value(&nodes[0], "standby_members{state=\"alive\"}", 4.0)?;
    let mut alone = Node::new(folder.path(), "alone", Follows::Nobody)?;
    alone.start()?;
    for node in nodes.iter().chain([&witness, &alone]) {
        let (text, values) = metrics(node)?;
        accepted_by_promtool(&text).with_context(|| format!("node {}", node.name))?;
        ensure!(values.contains_key("standby_build_info{version=\"0.1.0\"}"), "{text}");
    }
    ensure!(metrics(&witness)?.1["standby_role{role=\"witness\"}"] == 1.0);
    // It notices what is wrong.
    if place::program("promtool", "prometheus").is_some() {
        ensure!(accepted_by_promtool("# TYPE a_total gauge\na_total 1\n").is_err());
    }
    alone.stop()?;
    witness.stop()?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn metrics_tell_what_nodes_do_and_what_happens_to_them() -> Result<()> {
    let folder = place::scratch("metrics")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    commit(&nodes, 1, 20)?;
    wait_for_followers(&nodes)?;
    let leader = primary(&nodes)?;
    let (text, values) = metrics(&nodes[leader])?;
    let value = |name: &str| values.get(name).copied().with_context(|| format!("no {name} in\n{text}"));
    ensure!(value("standby_role{role=\"primary\"}")? == 1.0 && value("standby_lease_held{}")? == 1.0);
    ensure!(value("standby_serving{clients=\"read_write\"}")? == 1.0);
    ensure!(value("standby_storage_commits_total{storage=\"1\"}")? >= 20.0, "{text}");
    ensure!(value("standby_storage_stores_total{storage=\"1\"}")? >= 20.0, "{text}");
    ensure!(value("standby_storage_log_bytes{storage=\"1\"}")? > 20.0 * 300.0, "{text}");
    ensure!(value("standby_storage_objects{storage=\"1\"}")? >= 3.0, "{text}");
    ensure!(
        value("standby_acks_needed{storage=\"1\"}")? == 1.0
            && value("standby_acks_present{storage=\"1\"}")? == 2.0
    );
    ensure!(
        value("standby_members{state=\"alive\"}")? == 3.0 && value("standby_failover_possible{}")? == 1.0
    );
    ensure!(
        value("standby_follower_lag_transactions{storage=\"1\",follower=\"b\",follower_group=\"local\"}")?
            == 0.0
    );
    let last = value("standby_storage_last_commit_time_seconds{storage=\"1\"}")?;
    ensure!(last >= value("standby_start_time_seconds{}")?, "{text}");
    let replica = &nodes[(leader + 1) % 3];
    wait_for_value(replica, "standby_role{role=\"replica\"}", 1.0)?;
    wait_for_value(replica, "standby_lease_held{}", 0.0)?;
    wait_for_value(replica, "standby_upstream_connected{storage=\"1\"}", 1.0)?;
    wait_for_value(replica, "standby_upstream_lag_seconds{storage=\"1\"}", 0.0)?;
    wait_for_value(replica, "standby_storage_last_commit_time_seconds{storage=\"1\"}", last)?;

    change(replica, "/v1/pause", &Pause { paused: true })?;
    for node in &nodes {
        wait_for_value(node, "standby_failover_paused{}", 1.0)?;
        wait_for_value(node, "standby_failover_possible{}", 0.0)?;
    }
    change(&nodes[leader], "/v1/pause", &Pause { paused: false })?;

    // A client that waits for its greeting is counted.
    let waiting = std::net::TcpStream::connect(nodes[(leader + 1) % 3].zeo())?;
    wait_for_value(&nodes[(leader + 1) % 3], "standby_parked_clients{listener=\"zeo\"}", 1.0)?;
    drop(waiting);
    wait_for_value(&nodes[(leader + 1) % 3], "standby_parked_clients{listener=\"zeo\"}", 0.0)?;

    // A failover.
    let before = value("standby_epoch{}")?;
    nodes[leader].kill()?;
    commit(&nodes, 2, 1)?;
    let new = primary(&nodes)?;
    let (text, values) = metrics(&nodes[new])?;
    ensure!(values["standby_epoch{}"] > before, "{text}");
    ensure!(values["standby_history_promotions{cause=\"failover\"}"] >= 1.0, "{text}");
    wait_for_value(&nodes[new], "standby_members{state=\"failed\"}", 1.0)?;
    nodes[leader].start()?;
    wait_for_followers(&nodes)?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn metrics_are_told_to_everybody_over_tcp_if_the_node_says_so() -> Result<()> {
    let folder = place::scratch("metrics")?;
    let mut node = Node::new(folder.path(), "a", Follows::Nobody)?;
    node.set_admin("token = \"a token of the testbed\"\nopen_metrics = true\n");
    node.configure(Follows::Nobody)?;
    node.start()?;
    let told = get(node.admin(), "/metrics")?;
    ensure!(told.status == 200 && told.body.contains("standby_role{role=\"primary\"} 1.0"), "{told:?}");
    ensure!(get(node.admin(), "/v1/status")?.status == 401, "nothing else is");
    node.stop()
}
