//! The target of a switchover fails, at each of its steps: that is completed or rolled back, and clients write on.
//!
//! `STANDBY_SWITCHOVER_ROUNDS=N`: how many switchovers in each test (default 4; the moments come round after 8).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_control::{HistoryEntry, Switchover};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{
    cluster_of, primary, runtime, stop_with_the_same_history, wait_for_followers,
};
use standby_testbed::disk::SmallDisk;
use standby_testbed::network::Network;
use standby_testbed::place;
use standby_testbed::poll;
use standby_testbed::script::Script;

const NODES: usize = 3;
/// The host on which the clients are, behind those of the nodes.
const CLIENTS: usize = NODES;
const WRITERS: usize = 3;
/// How long after a switchover was asked for its target fails, in milliseconds: it takes about 100.
const MOMENTS: [u64; 8] = [15, 50, 0, 120, 30, 80, 5, 250];
/// How long a switchover may wait for its target.
const WAITS: f64 = 3.0;
/// How long the control API may take to answer.
const ANSWERS: Duration = Duration::from_secs(30);
/// A small disk is so large, and so much is left of a full one.
const DISK_BYTES: u64 = 96 << 20;
const LEFT_BYTES: u64 = 0;

/// What happens to a target.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Killed,
    StandsStill,
    CutOff,
    DiskFull,
}

#[test]
fn a_switchover_whose_target_is_killed_is_completed_or_rolled_back() -> Result<()> {
    survive(Fault::Killed)
}

#[test]
fn a_switchover_whose_target_stands_still_is_completed_or_rolled_back() -> Result<()> {
    survive(Fault::StandsStill)
}

#[test]
fn a_switchover_whose_target_is_cut_off_is_completed_or_rolled_back() -> Result<()> {
    survive(Fault::CutOff)
}

#[test]
fn a_switchover_whose_targets_disk_is_full_is_completed_or_rolled_back() -> Result<()> {
    survive(Fault::DiskFull)
}

fn survive(fault: Fault) -> Result<()> {
    let folder = place::scratch("switchover-faults")?;
    let network = (fault == Fault::CutOff).then(|| Network::new(NODES as u8 + 1));
    let network = match network.transpose() {
        Ok(network) => network,
        Err(error) => return skipped("network namespaces cannot be used", &error),
    };
    let disks = (fault == Fault::DiskFull).then(|| small_disks(folder.path()));
    let disks = match disks.transpose() {
        Ok(disks) => disks.unwrap_or_default(),
        Err(error) => return skipped("no small disk can be mounted", &error),
    };
    let mut trial = Trial::start(folder.path(), network, disks)?;
    let rounds = std::env::var("STANDBY_SWITCHOVER_ROUNDS").map_or(Ok(4), |rounds| rounds.parse())?;
    for (round, moment) in MOMENTS.iter().cycle().take(rounds).enumerate() {
        let told = trial.round(round, fault, Duration::from_millis(*moment)).with_context(|| {
            let logs = trial.nodes.iter().map(|node| node.log().unwrap_or_default());
            format!("round {round}, after {moment} ms:\n{}", logs.collect::<Vec<_>>().join("\n---\n"))
        })?;
        println!("{fault:?} after {moment} ms: {told}");
    }
    trial.end()
}

fn skipped(why: &str, error: &anyhow::Error) -> Result<()> {
    println!("skipped: {why} here: {error:#}");
    Ok(())
}

fn small_disks(folder: &Path) -> Result<Vec<SmallDisk>> {
    (0..NODES).map(|number| SmallDisk::mount(&folder.join(format!("disk-{number}")), DISK_BYTES)).collect()
}

/// A cluster whose clients write.
struct Trial {
    nodes: [Node; NODES],
    writers: Vec<Script>,
    network: Option<Network>,
    /// One for each node, or none.
    disks: Vec<SmallDisk>,
}

impl Trial {
    fn start(folder: &Path, network: Option<Network>, disks: Vec<SmallDisk>) -> Result<Self> {
        let nodes = cluster_of(folder, ["a", "b", "c"], |host, node| {
            // What was acknowledged is at two nodes: one may fail for good.
            node.set_replication("acks = 1");
            if let Some(network) = &network {
                node.set_namespace(network.namespace(host), Network::address(host));
            }
            if let Some(disk) = disks.get(host) {
                node.set_disk(disk.folder());
            }
            Ok(())
        })?;
        let zeo: Vec<String> = nodes.iter().map(|node| node.zeo().to_string()).collect();
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let name = format!("writer-{number}");
            let var = folder.join(&name);
            std::fs::create_dir(&var)?;
            let mut arguments =
                vec!["writer".to_owned(), "plain".to_owned(), name, var.display().to_string()];
            arguments.extend_from_slice(&zeo);
            let mut writer = match &network {
                Some(network) => {
                    let python = place::python()?;
                    Script::start_in(network.namespace(CLIENTS), &python, "failover.py", arguments)?
                }
                None => Script::start("failover.py", arguments)?,
            };
            writer.hear("begun")?;
            writers.push(writer);
        }
        Ok(Self { nodes, writers, network, disks })
    }

    /// A switchover whose target fails so long after it was asked for. What came of it.
    fn round(&mut self, round: usize, fault: Fault, after: Duration) -> Result<String> {
        self.all_write(&format!("before-{round}"))?;
        wait_for_followers(&self.nodes)?;
        let old = primary(&self.nodes)?;
        let to = (old + 1) % NODES;
        let known = self.history(old)?.len();
        let wanted = Switchover {
            to: Some(self.nodes[to].name.clone()),
            timeout_seconds: Some(WAITS),
            dry_run: false,
        };
        let asked = self.nodes[old].control();
        let switchover = std::thread::spawn(move || {
            runtime()?.block_on(asked.change("/v1/switchover", &wanted, ANSWERS)).map(|done| done.done)
        });
        std::thread::sleep(after);
        let failed = Instant::now();
        let filling = self.fail(fault, to)?;
        let told = switchover.join().expect("no panic");
        // Those that are connected to one that stands still do so, too: they cannot know.
        if fault == Fault::StandsStill {
            self.primary_other_than(to, old)?;
            self.nodes[to].server()?.resume()?;
        }
        self.all_write(&format!("without-{round}"))?;
        let gap = failed.elapsed();
        match fault {
            Fault::Killed => self.nodes[to].start()?,
            Fault::StandsStill => {}
            Fault::CutOff => self.network.as_ref().context("it is there")?.heal()?,
            Fault::DiskFull => std::fs::remove_file(filling.context("it is full")?)?,
        }
        wait_for_followers(&self.nodes)?;
        self.all_write(&format!("after-{round}"))?;

        let leader = primary(&self.nodes)?;
        let history = self.history(leader)?;
        let switched = history[known..].iter().filter(|entry| is_switchover(entry)).count();
        match &told {
            Ok(told) => ensure!(switched == 1, "{told}, and {switched} switchovers were decided"),
            Err(error) if error.to_string().contains("nothing has changed") => {
                ensure!(switched == 0, "{error:#}, and {switched} switchovers were decided");
            }
            Err(error) => ensure!(switched <= 1, "{error:#}, and {switched} switchovers were decided"),
        }
        let told = told.unwrap_or_else(|error| format!("{error:#}"));
        Ok(format!("{told}; {} ms later all have written", gap.as_millis()))
    }

    /// Returns the file that fills a disk.
    fn fail(&mut self, fault: Fault, node: usize) -> Result<Option<std::path::PathBuf>> {
        match fault {
            Fault::Killed => self.nodes[node].kill()?,
            Fault::StandsStill => self.nodes[node].server()?.pause()?,
            Fault::CutOff => {
                let network = self.network.as_ref().context("it is there")?;
                for other in (0..NODES).filter(|other| *other != node) {
                    network.cut(node, other)?;
                    network.cut(other, node)?;
                }
            }
            Fault::DiskFull => return self.disks[node].fill(LEFT_BYTES).map(Some),
        }
        Ok(None)
    }

    /// Waits until another node than one that stands still is the primary, as the others know: asked are they alone.
    fn primary_other_than(&self, still: usize, asked: usize) -> Result<()> {
        poll::until("another primary", poll::PATIENCE, || {
            let status = runtime()?.block_on(self.nodes[asked].control().status())?;
            let primary = status.view.and_then(|view| view.primary);
            Ok(primary.is_some_and(|primary| primary != self.nodes[still].name).then_some(()))
        })
    }

    fn history(&self, asked: usize) -> Result<Vec<HistoryEntry>> {
        Ok(runtime()?.block_on(self.nodes[asked].control().history())?.happenings)
    }

    fn all_write(&mut self, moment: &str) -> Result<()> {
        self.writers.iter_mut().try_for_each(|writer| writer.tell(moment))?;
        self.writers.iter_mut().try_for_each(|writer| writer.hear(&format!("wrote {moment}")).map(drop))
    }

    fn end(mut self) -> Result<()> {
        self.writers.iter_mut().try_for_each(|writer| writer.tell("stop"))?;
        for mut writer in self.writers.drain(..) {
            writer.hear("ended at ")?;
            writer.end()?;
        }
        wait_for_followers(&self.nodes)?;
        stop_with_the_same_history(&mut self.nodes)
    }
}

fn is_switchover(entry: &HistoryEntry) -> bool {
    entry.details["what"] == "promoted" && entry.details["cause"] == "Switchover"
}
