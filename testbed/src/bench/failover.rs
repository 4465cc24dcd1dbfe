//! `standby-testbed bench failover`: how long until the first commit after the primary is killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

use super::RunOptions;
use super::ceiling::DiskWatch;
use super::throughput::on_one_thread;
use crate::cluster::Node;
use crate::decided::{cluster_of, wait_for_followers};
use crate::driver::Committer;
use crate::poll;

/// Nodes of the cluster.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// What is measured: the name, the lease, and the goal for the 99th percentile.
const PROFILES: [(&str, &str, f64); 2] = [("default", "1500ms", 3.0), ("fast", "400ms", 1.0)];

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// How often the primary is killed, with each profile
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Keeps what the nodes say in a folder when a round takes longer than the goal
    #[arg(long, value_name = "PATH")]
    keep_late: Option<PathBuf>,
    #[command(flatten)]
    run: RunOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A node does not start, or nobody takes the primary's place.
pub fn run(options: &Options) -> Result<bool> {
    let standby = options.run.standby()?;
    let folder = options.run.folder()?;
    let (mut met, mut all) = (true, Vec::new());
    println!(
        "From SIGKILL of the primary to the first commit on another, of three nodes; seconds, {} rounds\n\
         (longest sync: of a small append to a file on the same disk meanwhile)\n",
        options.rounds
    );
    println!(
        "{:<10}{:>8}{:>10}{:>10}{:>10}{:>15}  target",
        "profile", "lease", "median", "99 %", "longest", "longest sync"
    );
    for (name, lease, goal) in PROFILES {
        let scratch = tempfile::tempdir_in(&folder)?;
        let late = Late { goal, profile: name, kept: options.keep_late.as_deref() };
        let watch = DiskWatch::start(scratch.path())?;
        let mut times = measure(&standby, scratch.path(), lease, options.rounds, &late)?;
        let sync = watch.longest()?.as_secs_f64();
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        let (median, most, longest) = (at(0.5), at(0.99), at(1.0));
        let verdict = if most <= goal { "ok" } else { "MISSED" };
        met &= most <= goal;
        println!(
            "{name:<10}{lease:>8}{median:>10.2}{most:>10.2}{longest:>10.2}{sync:>15.2}  99 % <= {goal} s {verdict}"
        );
        all.push(json!({ "profile": name, "lease": lease, "seconds": times, "longest_sync": sync }));
    }
    options.run.record(&json!({ "profiles": all }))?;
    Ok(met)
}

/// Three nodes that decide who is the primary.
pub(super) fn cluster(standby: &Path, folder: &Path, lease: &str) -> Result<[Node; 3]> {
    cluster_of(folder, NAMES, |_, node| {
        node.set_program(standby);
        node.set_cluster(&format!("lease = \"{lease}\"\n"));
        Ok(())
    })
}

/// What is done about a round that takes longer than it should.
struct Late<'a> {
    goal: f64,
    profile: &'a str,
    kept: Option<&'a Path>,
}

impl Late<'_> {
    fn note(&self, round: usize, seconds: f64, nodes: &[Node]) -> Result<()> {
        let Some(kept) = self.kept.filter(|_| seconds > self.goal) else { return Ok(()) };
        std::fs::create_dir_all(kept)?;
        for node in nodes {
            let name = format!("{}-round-{round}-{seconds:.2}s-{}.log", self.profile, node.name);
            std::fs::write(kept.join(name), node.log()?)?;
        }
        Ok(())
    }
}

fn measure(standby: &Path, folder: &Path, lease: &str, rounds: usize, late: &Late<'_>) -> Result<Vec<f64>> {
    let mut nodes = cluster(standby, folder, lease)?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let primary = wait_for_followers(&nodes)?;
        nodes[primary].kill()?;
        let killed = Instant::now();
        first_commit(&nodes, primary, round as u64)?;
        let seconds = killed.elapsed().as_secs_f64();
        times.push(seconds);
        late.note(round, seconds, &nodes)?;
        nodes[primary].start()?;
    }
    nodes.iter_mut().try_for_each(Node::kill)?;
    Ok(times)
}

/// Commits at whichever node lets a client in first, as one does that knows the addresses of all.
fn first_commit(nodes: &[Node], dead: usize, round: u64) -> Result<()> {
    on_one_thread(async {
        let mut attempts = tokio::task::JoinSet::new();
        for (number, node) in nodes.iter().enumerate().filter(|(number, _)| *number != dead) {
            let (zeo, series) = (node.zeo(), round * 10 + number as u64);
            attempts.spawn(async move {
                loop {
                    if let Ok(connection) = Connection::open(zeo).await {
                        let oids = vec![Oid::new((1 << 33) + series)];
                        let mut committer = Committer::new(connection, series, oids, 300, Tid::ZERO);
                        if committer.commit().await.is_ok() {
                            return;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        tokio::time::timeout(poll::PATIENCE, attempts.join_next()).await.context("nobody takes its place")?;
        Ok(())
    })
}
