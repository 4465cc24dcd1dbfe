//! A network of machines of its own, as network namespaces on one switch, on which whoever shall not reach whom does not.

mod distance;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use crate::namespace::{enter, ip};

pub use distance::Distance;

/// A hardware address that nobody has: what is sent there reaches nobody, and nobody is told.
const NOBODY: &str = "02:00:00:00:00:00";

/// A network of some hosts, numbered from 0. No other machine reaches it. Removed when dropped.
#[derive(Debug)]
pub struct Network {
    /// Where the bridge is, to which all cables lead.
    switch: String,
    hosts: Vec<String>,
    /// The cables that are long.
    _long: Vec<distance::Cable>,
}

impl Network {
    /// A new network of so many hosts, in which everybody reaches everybody.
    ///
    /// # Errors
    /// The machine does not allow it, or has no `ip`; the error says so.
    pub fn new(hosts: u8) -> Result<Self> {
        Self::with_distances(&vec![Distance::default(); hosts.into()])
    }

    /// The same with a host for each of these distances: so far is it from the others.
    ///
    /// # Errors
    /// The machine does not allow it, has no `ip`, or has no `/dev/net/tun` for those that are far; the error says so.
    pub fn with_distances(distances: &[Distance]) -> Result<Self> {
        static NETWORKS: AtomicU8 = AtomicU8::new(0);
        let (process, number) = (std::process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let switch = format!("standby-sn{process}-{number}");
        let mut network = Self { switch: switch.clone(), hosts: Vec::new(), _long: Vec::new() };
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add dev bridge0 type bridge"))?;
        ip(&format!("-n {switch} link set dev bridge0 up"))?;
        for (host, distance) in distances.iter().enumerate() {
            let name = format!("{switch}-{host}");
            ip(&format!("netns add {name}"))?;
            network.hosts.push(name.clone());
            let port = format!("port{host}");
            if *distance == Distance::default() {
                ip(&format!("-n {switch} link add dev {port} type veth peer name eth0 netns {name}"))?;
            } else {
                let ends = [(switch.as_str(), port.as_str()), (name.as_str(), "eth0")];
                network._long.push(distance::Cable::between(ends, *distance)?);
            }
            ip(&format!("-n {switch} link set dev {port} master bridge0 up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", Self::address(host)))?;
            ip(&format!("-n {name} link set dev lo up"))?;
            ip(&format!("-n {name} link set dev eth0 up"))?;
        }
        Ok(network)
    }

    /// Where the others reach a host.
    pub fn address(host: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 10 + host as u8)
    }

    /// What `ip netns exec` calls a host.
    pub fn namespace(&self, host: usize) -> &str {
        &self.hosts[host]
    }

    /// A runtime whose tasks are at that host: what they connect to, they reach from there. (What is blocked on is not.)
    pub fn runtime(&self, host: usize) -> Result<tokio::runtime::Runtime> {
        let name = self.hosts[host].clone();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().on_thread_start(move || {
            // Without it nothing could be reached: whoever uses it finds out.
            if let Err(error) = enter(&name) {
                eprintln!("a thread cannot go to {name}: {error:#}");
            }
        });
        runtime.build().context("no runtime")
    }

    /// From now on, nothing that `from` sends reaches `to`.
    pub fn cut(&self, from: usize, to: usize) -> Result<()> {
        let (name, address) = (&self.hosts[from], Self::address(to));
        ip(&format!("-n {name} neigh replace {address} lladdr {NOBODY} nud permanent dev eth0"))
    }

    /// Everybody reaches everybody again.
    pub fn heal(&self) -> Result<()> {
        self.hosts.iter().try_for_each(|name| ip(&format!("-n {name} neigh flush nud permanent dev eth0")))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What never came to be need not be removed. A namespace takes its interfaces along.
        for name in self.hosts.iter().chain([&self.switch]) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

#[cfg(test)]
#[path = "network_test.rs"]
mod tests;
