//! A network of machines of its own, as network namespaces on one bridge, on which whoever shall not reach whom does not.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;

use crate::namespace::ip;

/// A hardware address that nobody has: what is sent there reaches nobody, and nobody is told.
const NOBODY: &str = "02:00:00:00:00:00";

/// A network of so many hosts, numbered from 0. No other machine reaches it. Removed when dropped.
#[derive(Debug)]
pub struct Network {
    bridge: String,
    hosts: Vec<String>,
}

impl Network {
    /// A new network, in which everybody reaches everybody.
    ///
    /// # Errors
    /// The machine does not allow it, or has no `ip`; the error says so.
    pub fn new(hosts: u8) -> Result<Self> {
        static NETWORKS: AtomicU8 = AtomicU8::new(0);
        let (process, number) = (std::process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let mut network = Self { bridge: format!("sn{process}-{number}"), hosts: Vec::new() };
        let bridge = network.bridge.clone();
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("link set {bridge} up"))?;
        for host in 0..hosts {
            let (name, interface) = (format!("standby-{bridge}-{host}"), format!("{bridge}-{host}"));
            ip(&format!("netns add {name}"))?;
            network.hosts.push(name.clone());
            ip(&format!("link add {interface} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set {interface} master {bridge} up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", Self::address(host.into())))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
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
        // What never came to be need not be removed. A namespace takes its interface along.
        for name in &self.hosts {
            let _ = ip(&format!("netns del {name}"));
        }
        let _ = ip(&format!("link del {}", self.bridge));
    }
}
