//! A node: the service on its disk, started again whenever that is wanted.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use simulated_world::{Chance, Disk, fs};
use standby::config::{self, NodeConfig};
use standby::within::{Signals, create_cluster, run};
use turmoil::Sim;

use super::address;
use super::clocks::Clocks;
use super::trace::Trace;

/// What operators say.
pub(super) const TOKEN: &str = "the operator's token";
/// Where read-write clients, read-only clients, nodes and operators come.
pub(super) const ZEO: u16 = 8100;
pub(super) const ZEO_RO: u16 = 8101;
const PEER: u16 = 8200;
pub(super) const ADMIN: u16 = 8300;

pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) disk: Disk,
    pub(super) is_up: bool,
    /// Its data file cannot be synced any more, until somebody sees to it.
    disk_fails: Rc<Cell<bool>>,
}

impl Node {
    /// Starts it: one of so many voters, or a remote one; with so many acknowledgements before a client is answered.
    pub(super) fn start(
        sim: &mut Sim<'static>,
        number: usize,
        (voters, acks): (usize, usize),
        clocks: &Clocks,
        ahead: Duration,
        trace: &Trace,
    ) -> Self {
        let name = ["a", "b", "c", "d", "e"][number].to_owned();
        let disk = Disk::at(format!("/{name}"));
        let config = configuration(number, voters, acks, &name);
        let (clocks, trace, own) = (clocks.clone(), trace.clone(), name.clone());
        let disk_fails = Rc::new(Cell::new(false));
        let fails = Rc::clone(&disk_fails);
        sim.host(address(number), move || {
            let (config, clocks, trace, own) = (config.clone(), clocks.clone(), trace.clone(), own.clone());
            let fails = Rc::clone(&fails);
            async move {
                clocks.register(ahead);
                let made = PathBuf::from(format!("/{own}/made"));
                if number == 0 && !fs::exists(&made)? {
                    create_cluster(config.clone()).await?;
                    fs::write(&made, "")?;
                    fs::File::open(&made)?.sync_all()?;
                    fs::File::open(format!("/{own}"))?.sync_all()?;
                }
                let (_stop, signals) = Signals::channel();
                if let Err(error) = run(config, signals).await {
                    trace.note(clocks.elapsed(), format_args!("{own} ended: {error:#}"));
                    if fails.get() {
                        return Ok(());
                    }
                    return Err(format!("{own} ended: {error:#}").into());
                }
                Ok(())
            }
        });
        Self { name, address: address(number), disk, is_up: true, disk_fails }
    }

    /// The power fails, or only the process dies.
    pub(super) fn crash(&mut self, sim: &mut Sim<'static>, chance: &mut Chance, power_fails: bool) {
        if power_fails {
            self.disk.crash(chance);
        } else {
            self.disk.kill();
        }
        sim.crash(self.address);
        self.is_up = false;
    }

    /// What is written to its data file from now on cannot be made durable.
    pub(super) fn fail_disk(&mut self) {
        if Disk::fail_syncs(self.log(), true).is_ok() {
            self.disk_fails.set(true);
        }
    }

    pub(super) fn disk_fails(&self) -> bool {
        self.disk_fails.get()
    }

    pub(super) fn restart(&mut self, sim: &mut Sim<'static>) {
        self.disk.start();
        if self.disk_fails.replace(false) {
            Disk::fail_syncs(self.log(), false).expect("the file is there");
        }
        sim.bounce(self.address);
        self.is_up = true;
    }

    pub(super) fn log(&self) -> PathBuf {
        PathBuf::from(format!("/{}/Data.fs", self.name))
    }
}

fn configuration(number: usize, voters: usize, acks: usize, name: &str) -> NodeConfig {
    let group = if number < voters { "near" } else { "far" };
    let join: Vec<_> = (0..voters).map(|number| format!("\"{}:{PEER}\"", address(number))).collect();
    let text = format!(
        r#"
        [cluster]
        name = "simulated"
        secret = "known to all of its nodes"
        join = [{join}]
        lease = "1500ms"
        [node]
        name = "{name}"
        group = "{group}"
        role = "auto"
        address = "{address}:{PEER}"
        [listen]
        zeo = "0.0.0.0:{ZEO}"
        zeo_ro = "0.0.0.0:{ZEO_RO}"
        peer = "0.0.0.0:{PEER}"
        admin = ["0.0.0.0:{ADMIN}"]
        [admin]
        token = "{TOKEN}"
        [replication]
        acks = {acks}
        [[storage]]
        path = "/{name}/Data.fs"
        "#,
        join = join.join(", "),
        address = address(number),
    );
    config::parse("node.toml", &text, &[]).expect("the configuration has no mistake")
}
