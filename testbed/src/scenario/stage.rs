use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::language::{NodePlan, Scenario};
use super::needs::Needs;
use crate::clock::Clock;
use crate::cluster::Node;
use crate::decided::cluster_and_witnesses;
use crate::disk::{FailingDisk, SmallDisk};
use crate::network::{Distance, Network};
use crate::preload;

/// How large a small disk is, and how much of a full one is left, in bytes.
const DISK_BYTES: u64 = 96 << 20;
const LEFT_BYTES: u64 = 0;

/// What the machine provides beyond loopback addresses.
#[derive(Debug, Default)]
pub(super) struct Facilities {
    network: Option<Network>,
    disks: BTreeMap<usize, SmallDisk>,
    clocks: Vec<Clock>,
    failing_disks: Vec<FailingDisk>,
}

impl Facilities {
    /// What a scenario needs.
    ///
    /// # Errors
    /// The machine does not allow it; the error says what.
    pub(super) fn for_scenario(scenario: &Scenario, folder: &Path) -> Result<Self> {
        let needs = Needs::of(scenario);
        let network = needs.network.then(|| {
            // The clients are with the first site.
            let mut distances: Vec<Distance> =
                scenario.nodes.iter().map(|node| distance(scenario, node)).collect();
            distances.push(distance(scenario, &scenario.nodes[0]));
            Network::with_distances(&distances).context("network namespaces cannot be used")
        });
        let mut disks = BTreeMap::new();
        for node in needs.disks {
            let at = folder.join(format!("disk-of-{}", scenario.nodes[node].name));
            disks.insert(node, SmallDisk::mount(&at, DISK_BYTES).context("no small disk can be mounted")?);
        }
        let clocks = scenario.nodes.iter().filter(|_| needs.clocks);
        let clocks = clocks.map(|node| Clock::new(folder, &node.name)).collect::<Result<_>>();
        let failing = scenario.nodes.iter().filter(|_| needs.failing_disks);
        let failing = failing.map(|node| FailingDisk::new(folder, &node.name)).collect::<Result<_>>();
        Ok(Self {
            network: network.transpose()?,
            disks,
            clocks: clocks.context("no clock can be made that differs from the machine's")?,
            failing_disks: failing.context("no disk can be made that fails")?,
        })
    }

    /// What is in the environment of a node.
    fn environment(&self, number: usize) -> Vec<(&'static str, OsString)> {
        let (clock, disk) = (self.clocks.get(number), self.failing_disks.get(number));
        let libraries = clock.map(Clock::library).into_iter().chain(disk.map(FailingDisk::library));
        let libraries: Vec<&Path> = libraries.collect();
        let preloaded = (!libraries.is_empty()).then(|| preload::variable(libraries));
        let own = clock.map(Clock::variable).into_iter().chain(disk.map(FailingDisk::variable));
        preloaded.into_iter().chain(own).collect()
    }
}

fn distance(scenario: &Scenario, node: &NodePlan) -> Distance {
    let link = scenario.links.iter().find(|link| link.site == node.site);
    link.map_or(Distance::default(), |link| Distance {
        delay: link.delay,
        bytes_per_second: link.bits_per_second.map(|bits| bits / 8),
    })
}

/// The nodes, and all that can be done to them. They have the numbers that the scenario gives them.
#[derive(Debug)]
pub(super) struct Stage {
    /// Those with data.
    pub(super) nodes: Vec<Node>,
    /// Those without.
    witnesses: Vec<Node>,
    plans: Vec<NodePlan>,
    facilities: Facilities,
    /// Files that fill a disk.
    fillings: BTreeMap<usize, PathBuf>,
    frozen: BTreeSet<usize>,
}

impl Stage {
    /// Starts all nodes, and waits until all are in step.
    pub(super) fn start(scenario: &Scenario, folder: &Path, facilities: Facilities) -> Result<Self> {
        let names = |witness: bool| {
            let plans = scenario.nodes.iter().filter(move |node| node.is_witness == witness);
            plans.map(|node| node.name.as_str()).collect::<Vec<_>>()
        };
        let prepare = |number: usize, node: &mut Node| {
            let site = &scenario.nodes[number].site;
            if *site == scenario.nodes[0].site {
                node.set_home(site);
            } else {
                node.set_group(site);
            }
            if scenario.acks > 0 {
                node.set_replication(&format!("acks = {}", scenario.acks));
            }
            if let Some(lease) = scenario.lease {
                node.set_cluster(&format!("lease = \"{}ms\"\n", lease.as_millis()));
            }
            if let Some(network) = &facilities.network {
                node.set_namespace(network.namespace(number), Network::address(number));
            }
            if let Some(disk) = facilities.disks.get(&number) {
                node.set_disk(disk.folder());
            }
            for (name, value) in facilities.environment(number) {
                node.set_variable(name, value);
            }
            Ok(())
        };
        let (nodes, witnesses) = cluster_and_witnesses(folder, &names(false), &names(true), prepare)?;
        let (fillings, frozen) = Default::default();
        Ok(Self { nodes, witnesses, plans: scenario.nodes.clone(), facilities, fillings, frozen })
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> usize {
        self.plans.len()
    }

    pub(super) fn plan(&self, number: usize) -> &NodePlan {
        &self.plans[number]
    }

    pub(super) fn name(&self, number: usize) -> &str {
        &self.plans[number].name
    }

    /// The network, where the nodes have one; the clients are its last host.
    pub(super) fn network(&self) -> Option<&Network> {
        self.facilities.network.as_ref()
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        self.nodes.get(number).unwrap_or_else(|| &self.witnesses[number - self.nodes.len()])
    }

    pub(super) fn node_mut(&mut self, number: usize) -> &mut Node {
        let with_data = self.nodes.len();
        if number < with_data { &mut self.nodes[number] } else { &mut self.witnesses[number - with_data] }
    }

    pub(super) fn runs(&self, number: usize) -> bool {
        self.node(number).server.is_some()
    }

    /// Those with data that run and answer.
    pub(super) fn awake(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|number| self.runs(*number) && !self.frozen.contains(number))
    }

    pub(super) fn kill(&mut self, number: usize) -> Result<()> {
        self.frozen.remove(&number);
        self.node_mut(number).kill()
    }

    pub(super) fn stop(&mut self, number: usize) -> Result<()> {
        ensure!(!self.frozen.contains(&number), "{} is frozen, and cannot be stopped", self.name(number));
        self.node_mut(number).stop()
    }

    pub(super) fn freeze(&mut self, number: usize) -> Result<()> {
        self.node_mut(number).server()?.pause()?;
        self.frozen.insert(number);
        Ok(())
    }

    pub(super) fn thaw(&mut self, number: usize) -> Result<()> {
        self.node_mut(number).server()?.resume()?;
        self.frozen.remove(&number);
        Ok(())
    }

    pub(super) fn fill_disk(&mut self, number: usize) -> Result<()> {
        ensure!(!self.fillings.contains_key(&number), "the disk of {} is full already", self.name(number));
        let disk = self.facilities.disks.get(&number).context("it has no disk of its own")?;
        self.fillings.insert(number, disk.fill(LEFT_BYTES)?);
        Ok(())
    }

    pub(super) fn free_disk(&mut self, number: usize) -> Result<()> {
        let filling = self.fillings.remove(&number);
        let filling = filling.with_context(|| format!("the disk of {} is not full", self.name(number)))?;
        Ok(std::fs::remove_file(filling)?)
    }

    pub(super) fn set_clock(&self, number: usize, ahead_ms: i64) -> Result<()> {
        self.facilities.clocks.get(number).context("it has no clock of its own")?.set(ahead_ms)
    }

    /// The disk that can fail.
    pub(super) fn disk(&self, number: usize) -> Result<&FailingDisk> {
        self.facilities.failing_disks.get(number).context("it has no disk that can fail")
    }

    /// Stops all that run.
    pub(super) fn stop_all(&mut self) -> Result<()> {
        for number in std::mem::take(&mut self.frozen) {
            self.thaw(number)?;
        }
        for number in 0..self.count() {
            if self.runs(number) {
                self.node_mut(number).stop()?;
            }
        }
        Ok(())
    }
}
