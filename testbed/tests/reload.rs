//! A node's own file is read anew while it runs.

use std::io::Write;

use anyhow::{Result, ensure};
use standby_control::Reloaded;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::runtime;
use standby_testbed::poll;
use zeo_proto::client::Connection;

fn reload(node: &Node) -> Result<Reloaded> {
    runtime()?.block_on(node.control().reload())
}

fn append(node: &Node, text: &str) -> Result<()> {
    let mut file = std::fs::File::options().append(true).open(node.configuration())?;
    Ok(file.write_all(text.as_bytes())?)
}

#[test]
fn what_can_takes_effect_at_once_and_what_cannot_is_named() -> Result<()> {
    let folder = standby_testbed::place::scratch("reload")?;
    let mut node = Node::new(folder.path(), "a", Follows::Nobody)?;
    node.start()?;
    ensure!(reload(&node)?.took_effect.is_empty(), "nothing has changed");

    node.set_replication("acks = 1\n");
    node.set_group("elsewhere");
    node.configure(Follows::Nobody)?;
    append(&node, "[limits]\nconnections = 1\n")?;
    node.server()?.hang_up()?;
    node.wait_for_log("the configuration was read anew")?;
    let storage = node.wait_for_status("acknowledgements", |storage| storage.acknowledgements.is_some())?;
    ensure!(storage.acknowledgements.is_some_and(|acks| acks.needed == 1));
    ensure!(node.status()?.group == "local", "that needs a restart");
    let told = reload(&node)?;
    let left: Vec<&str> = told.needs_restart.iter().map(|found| found.key.as_str()).collect();
    ensure!(left == ["node.group", "node.voter"] && told.took_effect.is_empty(), "{told:?}");
    runtime()?.block_on(async {
        let first = Connection::open(node.zeo()).await?;
        let second = Connection::open(node.zeo()).await;
        ensure!(second.is_err(), "there is room for one");
        drop(first);
        anyhow::Ok(())
    })?;

    // Until the next start; then it is as the file says.
    node.stop()?;
    node.start()?;
    ensure!(node.status()?.group == "elsewhere");
    node.stop()
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_each_is_named_with_its_place() -> Result<()> {
    let folder = standby_testbed::place::scratch("reload")?;
    let mut node = Node::new(folder.path(), "a", Follows::Nobody)?;
    node.start()?;
    let lines = std::fs::read_to_string(node.configuration())?.lines().count();
    append(&node, "[limits]\nconnections = 0\nparked = 5\ncolour = \"red\"\n")?;
    let told = format!("{:#}", reload(&node).expect_err("there are mistakes"));
    for (line, column, mistake) in [
        (lines + 2, 15, "`connections`: expected a whole number from 1"),
        (lines + 4, 1, "`colour` is not a key of [limits]"),
    ] {
        let expected = format!("node.toml:{line}:{column}: {mistake}");
        ensure!(told.contains(&expected), "{told}\nlacks {expected}");
    }
    ensure!(node.log()?.contains("the configuration was not taken over, and nothing has changed"));
    node.configure(Follows::Nobody)?;
    append(&node, "[log]\nfilter = \"debug\"\n")?;
    let told = reload(&node)?;
    let took: Vec<&str> = told.took_effect.iter().map(|found| found.key.as_str()).collect();
    ensure!(took == ["log.filter"], "nothing was left of the other file: {told:?}");
    poll::until("more to be logged", poll::PATIENCE, || {
        runtime()?.block_on(Connection::open(node.zeo()))?;
        Ok(node.log()?.contains("DEBUG").then_some(()))
    })?;
    node.stop()
}
