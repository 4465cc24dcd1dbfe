use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use standby_checker::Transaction;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeo_proto::Tid;
use zeo_proto::client::{Address, Options};

use super::board::Board;
use super::clients::{PATIENCE, Records, Visited};
use super::counter::Count;
use super::site::Site;
use super::visits::Visits;
use crate::cluster::Node;
use crate::log;
use crate::swarm::{self, Plan, Swarm};

const WRITERS: usize = 8;
/// Each commits once in so much time.
const EVERY: Duration = Duration::from_millis(30);

/// Clients in Rust, in this process.
#[derive(Debug)]
pub struct Own {
    runtime: Runtime,
    swarm: Swarm,
    visitor: JoinHandle<Result<Visited>>,
    stop: watch::Sender<bool>,
}

impl Own {
    /// Starts them.
    pub fn start(nodes: &[Node], site: &Site) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let zeo: Vec<Address> = nodes.iter().map(|node| node.zeo().into()).collect();
        let zeo_ro: Vec<Address> = nodes.iter().map(|node| node.zeo_ro().into()).collect();
        let plan = Plan {
            clients: WRITERS,
            options: Options { wait: PATIENCE, ..Options::new(zeo) },
            every: EVERY,
            records: true,
            seed: u64::from(std::process::id()),
        };
        let stop = watch::Sender::new(false);
        let visits = Visits::of(site)?;
        let (swarm, visitor) = {
            let _within = runtime.enter();
            (Swarm::start(&plan), runtime.spawn(visits.visit(zeo_ro, stop.subscribe())))
        };
        Ok(Self { runtime, swarm, visitor, stop })
    }

    /// How many write, and how many only read.
    pub fn numbers(&self) -> (usize, usize) {
        (WRITERS, 1)
    }

    /// Who counts what they commit.
    pub fn count(&self) -> Count {
        Box::new(self.swarm.count())
    }

    /// Waits until each has committed something that it began from now on.
    pub fn all_write(&mut self, board: &Board) -> Result<()> {
        self.swarm.commit_now();
        board.until("every client to write", PATIENCE, || Ok(self.swarm.have_all_committed().then_some(())))
    }

    /// Ends them.
    pub fn finish(self) -> Result<Records> {
        self.stop.send_replace(true);
        let histories = self.runtime.block_on(self.swarm.stop())?;
        let visited = self.runtime.block_on(self.visitor)??;
        Ok(Records { histories, visited })
    }
}

/// The transactions of a file from this one on, with values as swarms write them down.
pub fn transactions(path: &Path, from: Option<Tid>) -> Result<Vec<Transaction>> {
    let mut all = log::transactions(path)?;
    all.retain(|transaction| from.is_none_or(|from| transaction.tid >= from));
    // Of the site's own objects, clients write nothing down.
    let others = all.iter_mut().flat_map(|transaction| &mut transaction.writes);
    others.filter(|stored| !swarm::has(stored.oid)).for_each(|stored| stored.value = None);
    Ok(all)
}
