//! `standby-testbed bench switchover`: how long a busy stock client cannot commit while primary and replica are exchanged.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use standby_control::Switchover;

use super::RunOptions;
use super::failover::cluster;
use super::throughput::on_one_thread;
use crate::cluster::Node;
use crate::decided::wait_for_followers;
use crate::script::Script;

/// The longest gap between two commits of a client should be no longer in the median, in milliseconds.
const GOAL: f64 = 250.0;
/// How long a switchover may take, with everything around it.
const LIMIT: Duration = Duration::from_secs(30);

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// How often primary and replica are exchanged
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Stock clients that commit one transaction after the other, and as many that read
    #[arg(long, default_value_t = 10)]
    clients: usize,
    #[command(flatten)]
    run: RunOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A node or a client does not start, or a client fails with anything but what stock clients try again by themselves.
pub fn run(options: &Options) -> Result<bool> {
    let standby = options.run.standby()?;
    let folder = options.run.folder()?;
    let scratch = tempfile::tempdir_in(&folder)?;
    let mut nodes = cluster(&standby, scratch.path(), "1500ms")?;
    let (mut writers, mut readers) = clients(scratch.path(), &nodes, options.clients)?;
    let mut gaps = Vec::new();
    for round in 0..options.rounds {
        let old = wait_for_followers(&nodes)?;
        let to = (old + 1) % nodes.len();
        gap(&mut writers[0], &format!("before-{round}"))?;
        let wanted = Switchover { to: Some(nodes[to].name.clone()), ..Switchover::default() };
        on_one_thread(async {
            nodes[old].control().change("/v1/switchover", &wanted, LIMIT).await.map(drop)
        })?;
        gaps.push(gap(&mut writers[0], &format!("after-{round}"))?);
    }
    for client in writers.iter_mut().chain(&mut readers) {
        client.tell("stop")?;
    }
    for mut writer in writers {
        writer.hear("ended at ")?;
        writer.end()?;
    }
    nodes.iter_mut().try_for_each(Node::kill)?;
    gaps.sort_by(f64::total_cmp);
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let verdict = if median <= GOAL { "ok" } else { "MISSED" };
    println!(
        "The longest gap between two commits of one of {0} stock clients that commit, with {0} that read, around a switchover; \
         milliseconds, {1} rounds\n",
        options.clients, options.rounds
    );
    println!(
        "{:>10}{:>10}  target\n{median:>10.0}{longest:>10.0}  median <= {GOAL} ms {verdict}",
        "median", "longest"
    );
    options.run.record(&json!({ "milliseconds": gaps }))?;
    Ok(median <= GOAL)
}

/// Stock clients that commit, and others that read; the last are one process.
fn clients(folder: &Path, nodes: &[Node], count: usize) -> Result<(Vec<Script>, Vec<Script>)> {
    let zeo: Vec<String> = nodes.iter().map(|node| node.zeo().to_string()).collect();
    let zeo_ro: Vec<String> = nodes.iter().map(|node| node.zeo_ro().to_string()).collect();
    let start = |name: String, mut arguments: Vec<String>, addresses: &[String]| {
        let var = folder.join(name);
        std::fs::create_dir(&var)?;
        arguments.push(var.display().to_string());
        arguments.extend_from_slice(addresses);
        let mut script = Script::start("failover.py", arguments)?;
        script.hear("begun")?;
        anyhow::Ok(script)
    };
    let writer = |number: usize| {
        let name = format!("writer-{number}");
        start(name.clone(), vec!["writer".to_owned(), "plain".to_owned(), name], &zeo)
    };
    let reader = |number: usize| start(format!("reader-{number}"), vec!["reader".to_owned()], &zeo_ro);
    let writers = (0..count).map(writer).collect::<Result<_>>()?;
    Ok((writers, (0..count).map(reader).collect::<Result<_>>()?))
}

/// The client's longest gap since it was asked last, in milliseconds.
fn gap(client: &mut Script, mark: &str) -> Result<f64> {
    client.tell(mark)?;
    let told = client.hear(&format!("wrote {mark}"))?;
    let gap = told.split(' ').rev().nth(1).and_then(|text| text.parse().ok());
    gap.with_context(|| format!("no gap in {told:?}"))
}
