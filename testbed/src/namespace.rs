//! A network namespace with a cable to it that can be pulled: a machine of its own, as far as the network goes.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};

/// A network namespace, joined to the machine by a pair of virtual interfaces. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    /// What `ip netns exec` calls it.
    pub name: String,
    /// The machine's address on the cable.
    pub outside: Ipv4Addr,
    /// Its own address.
    pub inside: Ipv4Addr,
    interface: String,
}

impl Namespace {
    /// A new namespace, with its cable plugged in.
    ///
    /// # Errors
    /// The machine does not allow it, or has no `ip`; the error says so.
    pub fn new() -> Result<Self> {
        static NAMESPACES: AtomicU8 = AtomicU8::new(0);
        let (process, number) = (std::process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        // A network of four addresses, in the range that leads nowhere else.
        let network = (process * 8 + u32::from(number)) % (254 * 64);
        let address = |host: u32| Ipv4Addr::from(0xa9fe_0100 + network * 4 + host);
        let namespace = Self {
            name: format!("standby-{process}-{number}"),
            outside: address(1),
            inside: address(2),
            interface: format!("sb{process}-{number}"),
        };
        let Self { name, interface, outside, inside } = &namespace;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {interface} type veth peer name eth0 netns {name}"))?;
        ip(&format!("addr add {outside}/30 dev {interface}"))?;
        ip(&format!("link set {interface} up"))?;
        ip(&format!("-n {name} addr add {inside}/30 dev eth0"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        Ok(namespace)
    }

    /// Pulls the cable: nothing passes, and nobody is told.
    pub fn unplug(&self) -> Result<()> {
        ip(&format!("link set {} down", self.interface))
    }

    /// Plugs it in again.
    pub fn plug_in(&self) -> Result<()> {
        ip(&format!("link set {} up", self.interface))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Takes the interfaces along. What never came to be need not be removed.
        let _ = ip(&format!("link del {}", self.interface));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// Takes the calling thread to a network namespace. There it stays.
pub(crate) fn enter(name: &str) -> Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let namespace = std::fs::File::open(format!("/run/netns/{name}")).with_context(|| name.to_owned())?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Runs `ip` with these arguments, which are separated by single spaces.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("ip does not start")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
