use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use standby_control::Role;

use super::board::Board;
use super::observer::Observed;
use super::play::PATIENCE;
use super::site::Site;
use crate::cluster::Node;
use crate::decided::{are_in_step, begun_cluster_of, role, runtime};
use crate::link::{Link, Way};

/// The nodes of the primary's site, and behind them the one of the other.
pub const NAMES: [&str; 4] = ["a", "b", "c", "remote"];
/// The number of that last one.
const REMOTE: usize = 3;
/// The two sites.
const SITES: [&str; 2] = ["berlin", "paris"];
/// The port on which the others reach a node, over its link.
const LINK_PORT: u16 = 8201;

/// At which site a node is.
fn site_of(number: usize) -> &'static str {
    SITES[usize::from(number == REMOTE)]
}

/// The cluster, and the links over which its nodes reach each other.
#[derive(Debug)]
pub struct Stage {
    /// The nodes.
    pub nodes: [Node; NAMES.len()],
    links: Vec<Link>,
}

impl Stage {
    /// Starts the nodes. The first has the site's data, the others copy it.
    pub fn set_up(folder: &Path, standby: &Path, site: &Site, board: &Board) -> Result<Self> {
        let mut links = Vec::new();
        let nodes = begun_cluster_of(folder, &NAMES, |number, node| {
            board.go_on()?;
            node.set_program(standby);
            node.set_identity("demo", crate::cluster::SECRET);
            // What every stock client can, also without msgpack.
            node.set_encoding("pickle");
            let link = Link::with_datagrams(SocketAddr::new(node.peer().ip(), LINK_PORT), node.peer())?;
            node.set_advertised(link.address());
            links.push(link);
            if number == REMOTE {
                node.set_group(site_of(number));
            } else {
                node.set_home(site_of(number));
            }
            if number == 0 {
                site.give_to(node)?;
            }
            Ok(())
        })?;
        let nodes = nodes.try_into().expect("as many as there are names");
        Ok(Self { nodes, links })
    }

    /// Who is to be observed, before they are there.
    pub fn observed(folder: &Path) -> Vec<Observed> {
        let observed = |(number, name): (usize, &&str)| {
            let socket = folder.join(name).join("admin.sock");
            let client = standby_admin::client::Client::new(&socket.display().to_string());
            ((*name).to_owned(), site_of(number).to_owned(), client)
        };
        NAMES.iter().enumerate().map(observed).collect()
    }

    /// The number of the node that says it is the primary, of those that run and are none of these.
    pub fn primary_but(&self, others: &[usize]) -> Option<usize> {
        let running = |number: &usize| self.nodes[*number].server.is_some() && !others.contains(number);
        (0..self.nodes.len()).filter(running).find(|number| role(&self.nodes[*number]) == Some(Role::Primary))
    }

    /// The number of the primary, when there is one. On a busy machine it may change by itself.
    pub fn primary(&self, board: &Board) -> Result<usize> {
        board.until("a primary", PATIENCE, || Ok(self.primary_but(&[])))
    }

    /// Waits until every running node has everything that the primary has. That may take long where there is much.
    pub fn wait_until_in_step(&self, patience: Duration, board: &Board) -> Result<()> {
        board.until("every replica to be in step", patience, || {
            let Some(primary) = self.primary_but(&[]) else { return Ok(None) };
            Ok(are_in_step(&self.nodes, primary).unwrap_or(false).then_some(()))
        })
    }

    /// Nothing that a node sends to those that follow it arrives any more, and nobody is told.
    pub fn hold_up(&self, node: usize) {
        self.links[node].stall(Way::Back);
    }

    /// Kills a node, and with it all that it has sent and that has not arrived.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.links[node].cut();
        self.nodes[node].kill()
    }

    /// Starts it again; whatever it sends arrives.
    pub fn start(&mut self, node: usize) -> Result<()> {
        self.links[node].pass();
        self.nodes[node].start()
    }

    /// What the cluster says has happened to it.
    pub fn history(&self) -> Result<Vec<standby_control::HistoryEntry>> {
        let asked = self.nodes.iter().find(|node| node.server.is_some()).context("no node runs")?;
        Ok(runtime()?.block_on(asked.control().history())?.happenings)
    }
}
