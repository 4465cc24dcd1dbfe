//! Transactions that were lost, and that an operator looks at and takes away.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standby_control::{LostAnswer, LostState};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{
    bring_back_the_others, cluster, commit, go_on_with, lose_the_majority, runtime,
    stop_with_the_same_history, wait_for_losses,
};
use standby_testbed::place;

/// What the tool tells, and whether it was done.
fn tool(node: &Node, words: &[&str]) -> Result<(bool, String)> {
    let socket = format!("unix:{}", node.socket().display());
    let output = Command::new(place::admin_binary()?).args(["--admin", &socket]).args(words).output()?;
    let told = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(told)?))
}

fn done(node: &Node, words: &[&str]) -> Result<String> {
    let (done, told) = tool(node, words)?;
    ensure!(done, "{words:?}: {told}");
    Ok(told)
}

fn refused(node: &Node, words: &[&str], reason: &str) -> Result<()> {
    let (done, told) = tool(node, words)?;
    ensure!(!done && told.contains(reason), "{words:?}: {told}");
    Ok(())
}

fn known(node: &Node) -> Result<LostAnswer> {
    runtime()?.block_on(node.control().lost())
}

/// A cluster in which two nodes have saved so many transactions that the third never had. Which one that is.
fn with_losses(nodes: &mut [Node; 3], count: u64) -> Result<usize> {
    commit(nodes, 1, 3)?;
    let left = lose_the_majority(nodes, |nodes, _| commit(nodes, 2, count).map(drop))?;
    go_on_with(nodes, left)?;
    bring_back_the_others(nodes, left)?;
    wait_for_losses(nodes, 2)?;
    Ok(left)
}

#[test]
fn what_was_lost_is_listed_shown_and_copied_from_the_node_that_has_it() -> Result<()> {
    const LOST: u64 = 7;
    let folder = place::scratch("lost")?;
    let mut nodes = cluster(folder.path(), "")?;
    ensure!(done(&nodes[1], &["lost"])? == "nothing that is known of was lost\n");
    refused(&nodes[1], &["lost", "show", "1"], "there is no file 1: nothing that is known of was lost")?;
    let left = with_losses(&mut nodes, LOST)?;
    let loser = (left + 1) % 3;
    let files = known(&nodes[loser])?.files;
    let place = files.iter().position(|saved| saved.state == LostState::Here).context("it has one")?;
    let (saved, number) = (&files[place], (place + 1).to_string());
    ensure!(saved.node == nodes[loser].name, "{files:?}");
    // The boundary of the reign in which they were committed may be among them.
    ensure!(saved.transactions >= LOST, "{files:?}");
    let other = &files[1 - place];
    ensure!(other.state == LostState::Elsewhere && other.node == nodes[(left + 2) % 3].name, "{files:?}");

    // Shown as `standby dump` shows the file itself.
    for (shown, option) in
        [(vec!["lost", "show", &number], None), (vec!["--json", "lost", "show", &saved.file], Some("--json"))]
    {
        let dump =
            Command::new(place::standby_binary()?).arg("dump").args(option).arg(&saved.file).output()?;
        let (told, expected) = (done(&nodes[loser], &shown)?, String::from_utf8(dump.stdout)?);
        ensure!(told == expected, "{told}\n---\n{expected}");
        if option.is_some() {
            let lines: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let records =
                lines.iter().filter(|line| line["records"].as_array().is_some_and(|all| !all.is_empty()));
            ensure!(records.count() as u64 == LOST, "{told}");
        }
    }

    // Copied, and never over something.
    let copy = folder.path().join("copy.fs");
    let to = copy.to_str().context("text")?;
    let told = done(&nodes[loser], &["lost", "export", &number, "--to", to])?;
    ensure!(told.starts_with(&format!("{to}: ")), "{told}");
    ensure!(std::fs::read(&copy)? == std::fs::read(&saved.file)?, "the copy is the file");
    std::fs::write(&copy, "mine")?;
    let again = ["lost", "export", &number, "--to", to];
    refused(&nodes[loser], &again, "copy.fs exists already, and is left as it is")?;
    ensure!(std::fs::read(&copy)? == b"mine");

    // Asked at another node, that one is named.
    for meant in [number.as_str(), &saved.file] {
        refused(&nodes[left], &["lost", "show", meant], &format!("is at node {}", nodes[loser].name))?;
    }
    let foreign = nodes[loser].data();
    let wrong = ["lost", "show", foreign.to_str().context("text")?];
    refused(&nodes[loser], &wrong, "no saved file")?;
    refused(&nodes[loser], &["lost", "show", "3"], "there is no file 3: `lost` lists 2")?;

    // One that is damaged does not come out as if it were whole.
    let mut bytes = std::fs::read(&saved.file)?;
    let (whole, half) = (bytes.clone(), bytes.len() / 2);
    bytes.truncate(half);
    std::fs::write(&saved.file, &bytes)?;
    refused(&nodes[loser], &["lost", "show", &number], "broke off: its log says why")?;
    nodes[loser].wait_for_log("bytes at the end are no whole transaction")?;
    std::fs::write(&saved.file, &whole)?;

    // One of which the cluster was never told is listed, too, however damaged it is.
    let stem = saved.file.strip_suffix(".fs").context("a file of ZODB")?;
    let untold = format!("{stem}0.fs");
    std::fs::write(&untold, &bytes)?;
    let told = done(&nodes[loser], &["lost"])?;
    ensure!(told.contains(&format!("{untold}: DAMAGED")) && told.contains(&saved.file), "{told}");
    std::fs::remove_file(&untold)?;

    // And one that somebody has taken away is missed.
    std::fs::remove_file(Path::new(&saved.file))?;
    ensure!(done(&nodes[loser], &["lost"])?.contains("TAKEN AWAY"));
    refused(&nodes[loser], &["lost", "show", &number], "is not there any more: somebody has taken it away")?;
    ensure!(nodes[loser].log()?.contains("an operator reads lost transactions"));
    stop_with_the_same_history(&mut nodes)
}
