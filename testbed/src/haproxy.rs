//! HAProxy in front of nodes, as the example in the documentation configures it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Node, own_address};
use crate::{place, poll};

/// The names that the example gives to nodes.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A running HAProxy. Killed when dropped.
#[derive(Debug)]
pub struct Haproxy {
    process: Child,
    address: Ipv4Addr,
}

impl Haproxy {
    /// Starts it in front of four nodes, whose health it checks with these further options; `None` where the machine has none, which is said.
    ///
    /// # Errors
    /// It does not take the example, or does not start.
    pub fn start(folder: &Path, nodes: &[&Node; 4], check: &str) -> Result<Option<Self>> {
        let Some(program) = place::program("haproxy", "haproxy") else { return Ok(None) };
        let address = own_address();
        let example = std::fs::read_to_string(place::repository().join("docs/examples/haproxy.cfg"))?;
        let mut text = example.replace("0.0.0.0:", &format!("{address}:"));
        text = text.replace("default-server check ", &format!("default-server check {check} "));
        for (name, node) in NAMES.iter().zip(nodes) {
            let named = format!("{name}.example.org");
            ensure!(text.contains(&named), "the example names no {named}");
            text = text.replace(&named, &node.zeo().ip().to_string());
        }
        let configuration = folder.join("haproxy.cfg");
        std::fs::write(&configuration, text)?;
        let checked = Command::new(&program).args(["-c", "-f"]).arg(&configuration).output()?;
        if !checked.status.success() {
            bail!("HAProxy does not take the example: {}", String::from_utf8_lossy(&checked.stderr));
        }
        let log = File::create(folder.join("haproxy.log"))?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&configuration).stdin(Stdio::null());
        let process =
            command.stdout(log.try_clone()?).stderr(log).spawn().context("HAProxy did not start")?;
        let mut haproxy = Self { process, address };
        poll::until("HAProxy to listen", poll::PATIENCE, || {
            if let Some(status) = haproxy.process.try_wait()? {
                bail!("HAProxy ended ({status}): {}", std::fs::read_to_string(folder.join("haproxy.log"))?);
            }
            Ok(std::net::TcpStream::connect(haproxy.zeo_ro()).is_ok().then_some(()))
        })?;
        Ok(Some(haproxy))
    }

    /// Where read-write clients connect.
    pub fn zeo(&self) -> SocketAddr {
        (self.address, 8100).into()
    }

    /// Where read-only clients connect.
    pub fn zeo_ro(&self) -> SocketAddr {
        (self.address, 8101).into()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // Errors only say that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
