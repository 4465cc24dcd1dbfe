use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::{History, Transaction};
use tokio::runtime::Runtime;
use zeo_proto::client::Options;

use super::language::ClientPlan;
use super::stage::Stage;
use crate::poll::PATIENCE;
use crate::stamps::{self, Stamps};
use crate::swarm::{Plan, Swarm};
use crate::{decided, log, place};

/// Each Rust client commits once in so much time.
const EVERY: Duration = Duration::from_millis(40);
/// A server that stands still is left after so long.
const SILENCE: Duration = Duration::from_secs(2);

/// Clients at work.
#[derive(Debug)]
pub(super) enum Clients {
    Rust {
        /// Where they are.
        runtime: Runtime,
        swarm: Option<Swarm>,
    },
    Stock {
        stamps: Stamps,
        /// How often they were asked for something.
        asked: u64,
        /// The last transaction that all have written up to.
        last: String,
    },
}

impl Clients {
    /// Starts them, at the last host where there is a network. Waits until all have written.
    pub(super) fn start(plan: ClientPlan, stage: &Stage, folder: &Path, seed: u64) -> Result<Self> {
        let mut clients = if plan.are_stock {
            Self::start_stock(plan, stage, folder)?
        } else {
            Self::start_rust(plan, stage, seed)?
        };
        clients.every_client_writes(PATIENCE)?;
        Ok(clients)
    }

    fn start_rust(plan: ClientPlan, stage: &Stage, seed: u64) -> Result<Self> {
        let runtime = match stage.network() {
            Some(network) => network.runtime(stage.count())?,
            None => decided::runtime()?,
        };
        // However long it takes until there is another primary, nobody takes an older history for the true one.
        let options =
            |options: Options| Options { wait: PATIENCE, silence: SILENCE, behind: PATIENCE, ..options };
        let zeo = stage.nodes.iter().map(|node| node.zeo());
        let zeo_ro = stage.nodes.iter().map(|node| node.zeo_ro());
        let swarm = {
            let _within = runtime.enter();
            let mut swarm = Swarm::start(&Plan {
                clients: plan.writers,
                options: options(Options::new(zeo)),
                every: EVERY,
                records: true,
                seed,
            });
            swarm.add_readers(plan.readers, &options(Options::read_only(zeo_ro)));
            swarm
        };
        Ok(Self::Rust { runtime, swarm: Some(swarm) })
    }

    fn start_stock(plan: ClientPlan, stage: &Stage, folder: &Path) -> Result<Self> {
        let python = place::python()?;
        let namespace = stage.network().map(|network| network.namespace(stage.count()));
        let mut stamps = Stamps::new(&folder.join("clients"), namespace);
        for number in 0..plan.writers {
            // Every other one reads where it can while it cannot write.
            let mode = if number % 2 == 0 { "plain" } else { "fallback" };
            stamps.start(&python, &format!("writer-{number}"), mode, &stage.nodes)?;
        }
        for number in 0..plan.readers {
            stamps.start(&python, &format!("reader-{number}"), "reader", &stage.nodes)?;
        }
        Ok(Self::Stock { stamps, asked: 0, last: String::new() })
    }

    /// Waits until every writer has committed, and every reader has read, something that it began from now on.
    pub(super) fn every_client_writes(&mut self, patience: Duration) -> Result<()> {
        let now = Instant::now();
        match self {
            Self::Rust { runtime, swarm } => {
                let swarm = swarm.as_mut().context("the clients have ended")?;
                swarm.commit_now();
                runtime.block_on(swarm.all_committed(now, patience)).map(drop)
            }
            Self::Stock { stamps, asked, last } => {
                *asked += 1;
                *last = stamps.all_write(&format!("moment-{asked}"))?;
                ensure!(now.elapsed() <= patience, "it took the clients {:.1?} to write", now.elapsed());
                Ok(())
            }
        }
    }

    /// How many transactions were committed, where that is known.
    pub(super) fn commits(&self) -> u64 {
        self.swarm().map_or(0, Swarm::commits)
    }

    /// How many were refused for want of room, where that is known.
    pub(super) fn refused(&self) -> u64 {
        self.swarm().map_or(0, Swarm::refused)
    }

    fn swarm(&self) -> Option<&Swarm> {
        match self {
            Self::Rust { swarm, .. } => swarm.as_ref(),
            Self::Stock { .. } => None,
        }
    }

    /// Ends them, when they have seen what is there now. Returns what they have written down.
    pub(super) fn stop(&mut self) -> Result<Vec<History>> {
        self.every_client_writes(PATIENCE)?;
        match self {
            Self::Rust { runtime, swarm } => {
                runtime.block_on(swarm.take().context("the clients have ended")?.stop())
            }
            Self::Stock { stamps, last, .. } => {
                stamps.all_look("end", last)?;
                stamps.stop()
            }
        }
    }

    /// The transactions of a file, with values as these clients write them down.
    pub(super) fn transactions(&self, path: &Path) -> Result<Vec<Transaction>> {
        match self {
            Self::Rust { .. } => log::transactions(path),
            Self::Stock { .. } => stamps::transactions(&place::python()?, path, None),
        }
    }
}
