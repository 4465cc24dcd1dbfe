//! Nodes under a service manager that listens for notifications, as systemd does.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::Result;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::poll;

/// What the service manager hears, line by line.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    /// Waits until this is said.
    fn hears(&mut self, what: &str) -> Result<()> {
        poll::until(what, poll::PATIENCE, || {
            let mut message = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                self.heard.extend(text.lines().map(str::to_owned));
            }
            Ok(self.heard.iter().position(|line| line.starts_with(what)))
        })
        .map(|at| drop(self.heard.drain(..=at)))
    }
}

#[test]
fn the_service_manager_hears_when_a_node_serves_what_it_is_and_that_it_stops() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut manager = Manager { socket, heard: Vec::new() };

    let mut node = Node::new(folder.path(), "a", Follows::Decided(None))?;
    node.set_variable("NOTIFY_SOCKET", &path);
    node.init()?;
    node.start()?;
    manager.hears("READY=1")?;
    manager.hears("STATUS=primary")?;
    node.stop()?;
    manager.hears("STOPPING=1")?;
    Ok(())
}
