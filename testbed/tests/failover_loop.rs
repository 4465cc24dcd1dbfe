//! Stock clients, old and new, that stamp everything and write down what they see, while one primary after the other is taken from them.
//!
//! - `STANDBY_FAILOVER_ROUNDS=N`: how many primaries in each test (default 4).
//! - `STANDBY_SEED=N`: what happens to them, as an earlier run printed it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::check;
use standby_control::Role;
use standby_testbed::cluster::Node;
use standby_testbed::decided::{cluster_of, primary, role, runtime, wait_for_followers};
use standby_testbed::link::Way;
use standby_testbed::losses;
use standby_testbed::network::Network;
use standby_testbed::place;
use standby_testbed::poll;
use standby_testbed::seed::Seed;
use standby_testbed::stamps::{self, Stamps};

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
    nothing_is_lost: bool,
    nodes: [Node; NODES],
    clients: Stamps,
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
            Ok(())
        })?;
        let namespace = network.as_ref().map(|network| network.namespace(CLIENTS));
        let mut clients = Stamps::new(&folder.join("clients"), namespace);
        for (python, version) in [(place::python()?, "new"), (place::python_541()?, "old")] {
            for mode in ["plain", "fallback", "reader"] {
                clients.start(&python, &format!("{version}-{mode}"), mode, &nodes)?;
            }
        }
        wait_for_followers(&nodes)?;
        Ok(Self { nothing_is_lost, nodes, clients, network })
    }

    /// Takes the primary away, sees the clients write on, gives it back, and lets them say what they see then.
    fn round(&mut self, round: usize, fault: Fault, seed: &mut Seed) -> Result<()> {
        self.clients.all_write(&format!("before-{round}"))?;
        let old = primary(&self.nodes)?;
        match (fault, self.network.is_some()) {
            (Fault::Killed, _) => {
                self.nodes[old].kill()?;
                self.clients.all_write(&format!("without-{round}"))?;
                self.nodes[old].start()?;
            }
            (Fault::Restarted, _) => {
                self.nodes[old].stop()?;
                self.clients.all_write(&format!("without-{round}"))?;
                self.nodes[old].start()?;
            }
            (Fault::Cut(cut), true) => {
                self.cut(cut, old, seed)?;
                // Clients that were cut off, too, cannot know: a stock one finds out with its next heartbeat, once a minute.
                if cut != Cut::FromNodesAndClients {
                    self.clients.all_write(&format!("without-{round}"))?;
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
        let last = self.clients.all_write(&format!("after-{round}"))?;
        self.clients.all_look(&round.to_string(), &last)
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

    /// Holds what the clients were told and have read against what the nodes have in the end.
    fn end(mut self) -> Result<()> {
        let histories = self.clients.stop()?;
        wait_for_followers(&self.nodes)?;
        let leader = primary(&self.nodes)?;
        let saved = losses::saved(&self.nodes, leader)?;
        let happened = runtime()?.block_on(self.nodes[leader].control().history())?.happenings;
        ensure!(!losses::was_promoted(&happened, "remote"), "the other site was promoted");
        self.nodes.iter_mut().try_for_each(Node::stop)?;
        let first = std::fs::read(self.nodes[0].data())?;
        for node in &self.nodes[1..] {
            ensure!(std::fs::read(node.data())? == first, "a and {} differ", node.name);
        }
        let transactions = |path: &Path| stamps::transactions(&place::python()?, path, None);
        let lost = losses::read(&saved, transactions)?;
        let verdict = check(&histories, &transactions(&self.nodes[0].data())?, &lost);
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
}
