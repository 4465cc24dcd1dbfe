//! Stock clients, old and new, that stamp everything and write down what they see, while one primary after the other is taken from them.
//!
//! - `STANDBY_FAILOVER_ROUNDS=N`: how many primaries in each test (default 4).
//! - `STANDBY_SEED=N`: what happens to them, as an earlier run printed it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::{History, Transaction, check, read_lines};
use standby_control::{HistoryEntry, Role};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{cluster_of, primary, role, runtime, wait_for_followers};
use standby_testbed::link::Way;
use standby_testbed::network::Network;
use standby_testbed::place;
use standby_testbed::poll;
use standby_testbed::script::Script;
use standby_testbed::seed::Seed;

/// Nodes of the group of the primary; behind them, the one of another group.
const LOCAL: usize = 3;
/// The number of the node at the other site.
const REMOTE: usize = LOCAL;
const NODES: usize = LOCAL + 1;
/// The number of the host on which the clients are, behind those of the nodes.
const CLIENTS: usize = NODES;
/// A cut that is to change nothing lasts so long: several leases.
const LONG: Duration = Duration::from_secs(4);

/// What happens to a primary.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Killed,
    StandsStill,
    Restarted,
    Cut(Cut),
}

/// From whom a primary is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    FromNodes(Way),
    FromNodesAndClients,
    WithAReplica,
    WithTheRemote,
}

const FAULTS: [Fault; 9] = [
    Fault::Cut(Cut::FromNodes(Way::Both)),
    Fault::Killed,
    Fault::StandsStill,
    Fault::Restarted,
    Fault::Cut(Cut::FromNodes(Way::There)),
    Fault::Cut(Cut::FromNodes(Way::Back)),
    Fault::Cut(Cut::FromNodesAndClients),
    Fault::Cut(Cut::WithAReplica),
    Fault::Cut(Cut::WithTheRemote),
];

#[test]
fn with_acknowledgements_stock_clients_write_on_and_nothing_that_they_were_told_is_gone() -> Result<()> {
    survive("acks = 1", true)
}

#[test]
fn without_acknowledgements_stock_clients_write_on_and_what_is_gone_is_listed_and_saved() -> Result<()> {
    survive("", false)
}

/// How many primaries are taken away.
fn rounds() -> Result<usize> {
    match std::env::var("STANDBY_FAILOVER_ROUNDS") {
        Ok(rounds) => rounds.parse().context("STANDBY_FAILOVER_ROUNDS is a number"),
        Err(_) => Ok(4),
    }
}

fn survive(replication: &str, nothing_is_lost: bool) -> Result<()> {
    let mut seed = Seed::announced();
    let folder = place::scratch("failover-loop")?;
    let mut trial = Trial::start(folder.path(), replication, nothing_is_lost)?;
    let mut deck = Vec::new();
    for round in 0..rounds()? {
        if deck.is_empty() {
            deck = FAULTS.to_vec();
        }
        // The first one makes what is not acknowledged lost.
        let card = if round == 0 { 0 } else { seed.pick(0..deck.len() as u64) as usize };
        let fault = deck.swap_remove(card);
        let begin = Instant::now();
        trial.round(round, fault, &mut seed).with_context(|| {
            let logs = trial.nodes.iter().map(|node| node.log().unwrap_or_default());
            format!("round {round}: {fault:?}\n{}", logs.collect::<Vec<_>>().join("\n---\n"))
        })?;
        println!("round {round}: {fault:?}, {:.1} s", begin.elapsed().as_secs_f64());
    }
    trial.end()
}

/// A cluster and its clients.
struct Trial {
    folder: PathBuf,
    nothing_is_lost: bool,
    nodes: [Node; NODES],
    writers: Vec<Script>,
    readers: Vec<Script>,
    /// Where the nodes can be cut off, on a machine that allows it.
    network: Option<Network>,
}

impl Trial {
    fn start(folder: &Path, replication: &str, nothing_is_lost: bool) -> Result<Self> {
        let network = match Network::new(NODES as u8 + 1) {
            Ok(network) => Some(network),
            Err(error) => {
                println!(
                    "nothing is cut off, but stands still: network namespaces cannot be used: {error:#}"
                );
                None
            }
        };
        let nodes = cluster_of(folder, ["a", "b", "c", "remote"], |host, node| {
            node.set_replication(replication);
            if host == REMOTE {
                node.set_group("elsewhere");
            }
            if let Some(network) = &network {
                node.set_namespace(network.namespace(host), Network::address(host));
            }
        })?;
        let folder = folder.join("clients");
        let (writers, readers) = (Vec::new(), Vec::new());
        let mut trial = Self { folder, nothing_is_lost, nodes, writers, readers, network };
        for (python, version) in [(place::python()?, "new"), (place::python_541()?, "old")] {
            for mode in ["plain", "fallback"] {
                let client = trial.client(&python, version, mode)?;
                trial.writers.push(client);
            }
            let client = trial.client(&python, version, "reader")?;
            trial.readers.push(client);
        }
        wait_for_followers(&trial.nodes)?;
        Ok(trial)
    }

    fn client(&self, python: &Path, version: &str, mode: &str) -> Result<Script> {
        let name = format!("{version}-{mode}");
        let var = self.folder.join(&name);
        std::fs::create_dir_all(&var)?;
        let scenario = if mode == "reader" { "reader" } else { "writer" };
        let mut arguments = vec![scenario.to_owned(), mode.to_owned(), name, var.display().to_string()];
        if mode != "reader" {
            arguments.extend(self.nodes.iter().map(|node| node.zeo().to_string()));
        }
        if mode != "plain" {
            arguments.extend(self.nodes.iter().map(|node| node.zeo_ro().to_string()));
        }
        let mut client = match &self.network {
            Some(network) => Script::start_in(network.namespace(CLIENTS), python, "stamps.py", arguments)?,
            None => Script::start_under(python, "stamps.py", arguments)?,
        };
        client.hear("begun")?;
        Ok(client)
    }

    /// Takes the primary away, sees the clients write on, gives it back, and lets them say what they see then.
    fn round(&mut self, round: usize, fault: Fault, seed: &mut Seed) -> Result<()> {
        self.all_write(&format!("before-{round}"))?;
        let old = primary(&self.nodes)?;
        match (fault, self.network.is_some()) {
            (Fault::Killed, _) => {
                self.nodes[old].kill()?;
                self.all_write(&format!("without-{round}"))?;
                self.nodes[old].start()?;
            }
            (Fault::Restarted, _) => {
                self.nodes[old].stop()?;
                self.all_write(&format!("without-{round}"))?;
                self.nodes[old].start()?;
            }
            (Fault::Cut(cut), true) => {
                self.cut(cut, old, seed)?;
                // Clients that were cut off, too, cannot know: a stock one finds out with its next heartbeat, once a minute.
                if cut != Cut::FromNodesAndClients {
                    self.all_write(&format!("without-{round}"))?;
                }
                self.network.as_ref().context("it is there")?.heal()?;
            }
            (Fault::StandsStill, _) | (Fault::Cut(_), false) => {
                self.nodes[old].server()?.pause()?;
                // Clients of one that stands still do so, too: they cannot know.
                let promoted = self.wait_for_another(&[old]);
                self.nodes[old].server()?.resume()?;
                promoted?;
            }
        }
        wait_for_followers(&self.nodes)?;
        ensure!(role(&self.nodes[REMOTE]) != Some(Role::Primary), "the other site was promoted");
        let last = self.all_write(&format!("after-{round}"))?;
        let mut clients: Vec<&mut Script> = self.writers.iter_mut().chain(&mut self.readers).collect();
        clients.iter_mut().try_for_each(|client| client.tell(&format!("look {round} {last}")))?;
        clients.iter_mut().try_for_each(|client| client.hear(&format!("looked {round}")).map(drop))
    }

    /// Cuts a primary off, until the others have another one, or have had time to make one that must not be.
    fn cut(&self, cut: Cut, old: usize, seed: &mut Seed) -> Result<()> {
        let network = self.network.as_ref().context("it is there")?;
        let replica = (old + 1 + seed.pick(0..LOCAL as u64 - 1) as usize) % LOCAL;
        let (inside, way) = match cut {
            Cut::FromNodes(way) => (vec![old], way),
            Cut::FromNodesAndClients => (vec![old], Way::Both),
            Cut::WithAReplica => (vec![old, replica], Way::Both),
            Cut::WithTheRemote => (vec![old, REMOTE], Way::Both),
        };
        let hosts = if cut == Cut::FromNodesAndClients { 0..NODES + 1 } else { 0..NODES };
        for outside in hosts.filter(|host| !inside.contains(host)) {
            for inside in &inside {
                if way != Way::Back {
                    network.cut(*inside, outside)?;
                }
                if way != Way::There {
                    network.cut(outside, *inside)?;
                }
            }
        }
        if cut != Cut::WithAReplica {
            return self.wait_for_another(&inside);
        }
        let until = Instant::now() + LONG;
        poll::until("the end of the cut", poll::PATIENCE, || {
            for (_, node) in self.nodes.iter().enumerate().filter(|(number, _)| !inside.contains(number)) {
                ensure!(role(node) != Some(Role::Primary), "{} was promoted by a minority", node.name);
            }
            Ok((Instant::now() > until).then_some(()))
        })
    }

    /// Waits until one is the primary that is none of these, nor the one at the other site.
    fn wait_for_another(&self, than: &[usize]) -> Result<()> {
        poll::until("another primary", poll::PATIENCE, || {
            let others = self.nodes.iter().enumerate().filter(|(number, _)| !than.contains(number));
            let mut primaries = others.filter(|(_, node)| role(node) == Some(Role::Primary));
            let Some((number, _)) = primaries.next() else { return Ok(None) };
            ensure!(number != REMOTE, "the other site was promoted");
            Ok(Some(()))
        })
    }

    /// Each writer commits something that it begins from now on. Returns the last transaction of these.
    fn all_write(&mut self, moment: &str) -> Result<String> {
        self.writers.iter_mut().try_for_each(|writer| writer.tell(&format!("write {moment}")))?;
        let written = self.writers.iter_mut().map(|writer| writer.hear(&format!("wrote {moment} ")));
        let written: Vec<String> = written.collect::<Result<_>>()?;
        written.into_iter().max().context("there are writers")
    }

    /// Holds what the clients were told and have read against what the nodes have in the end.
    fn end(mut self) -> Result<()> {
        for mut client in self.writers.drain(..).chain(self.readers.drain(..)) {
            client.tell("stop")?;
            client.hear("ended")?;
            client.end()?;
        }
        wait_for_followers(&self.nodes)?;
        let saved = self.saved()?;
        self.nodes.iter_mut().try_for_each(Node::stop)?;
        let first = std::fs::read(self.nodes[0].data())?;
        for node in &self.nodes[1..] {
            ensure!(std::fs::read(node.data())? == first, "a and {} differ", node.name);
        }
        let mut lost = Vec::new();
        for (path, count) in &saved {
            let transactions = transactions(path)?;
            let found = transactions.len() as u64;
            ensure!(found == *count, "{} has {found} transactions, and not {count}", path.display());
            lost.push(transactions);
        }
        let verdict = check(&self.histories()?, &transactions(&self.nodes[0].data())?, &lost);
        println!("{verdict}");
        ensure!(verdict.is_honest(), "{verdict}");
        let counts = verdict.counts;
        ensure!(counts.acknowledged > 0 && counts.reads > 0, "nothing was judged");
        if self.nothing_is_lost {
            ensure!(counts.acknowledged_lost == 0, "acknowledged, and lost");
        } else {
            let is_shown = counts.acknowledged_lost > 0 || self.network.is_none();
            ensure!(is_shown, "without a loss, this shows nothing");
        }
        Ok(())
    }

    /// What the clients have written down.
    fn histories(&self) -> Result<Vec<History>> {
        let folders = self.folder.read_dir()?.map(|entry| Ok(entry?.path()));
        let history = |folder: Result<PathBuf>| {
            let folder = folder?;
            let client = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = folder.join("history");
            let entries = read_lines(BufReader::new(File::open(&path)?));
            Ok(History { client, entries: entries.with_context(|| path.display().to_string())? })
        };
        folders.map(history).collect()
    }

    /// The files of lost transactions that the history lists, which are all that there are, and how many are in each.
    fn saved(&self) -> Result<BTreeMap<PathBuf, u64>> {
        let leader = primary(&self.nodes)?;
        let mut there = BTreeSet::new();
        for node in &self.nodes {
            let folder = node.data().with_file_name("Data.fs.standby").join("lost");
            for entry in folder.read_dir().into_iter().flatten() {
                there.insert(entry?.path());
            }
        }
        there.retain(|path| path.extension().is_some_and(|ending| ending == "fs"));
        let saved = poll::until("all that was lost to be listed", poll::PATIENCE, || {
            let told = runtime()?.block_on(self.nodes[leader].control().history())?;
            ensure!(!told.happenings.iter().any(is_promotion_of_the_remote), "the other site was promoted");
            let listed: BTreeMap<PathBuf, u64> = told.happenings.iter().filter_map(lost).collect();
            Ok(there.iter().all(|path| listed.contains_key(path)).then_some(listed))
        })?;
        Ok(saved)
    }
}

/// The transactions of a file, as ZODB itself reads it.
fn transactions(path: &Path) -> Result<Vec<Transaction>> {
    Script::run("stamps.py", ["log".to_owned(), path.display().to_string()])?;
    let mut log = path.to_owned().into_os_string();
    log.push(".log");
    Ok(read_lines(BufReader::new(File::open(log)?))?)
}

fn is_promotion_of_the_remote(entry: &HistoryEntry) -> bool {
    entry.details["what"] == "promoted" && entry.details["node"] == "remote"
}

/// The file that an entry names, and how many transactions it says are in it.
fn lost(entry: &HistoryEntry) -> Option<(PathBuf, u64)> {
    let details = (entry.details["what"] == "lost").then_some(&entry.details)?;
    Some((details["file"].as_str()?.into(), details["transactions"].as_u64()?))
}
