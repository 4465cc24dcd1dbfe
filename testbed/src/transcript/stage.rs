use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::shape;
use crate::cluster::{Follows, Node, SECRET, own_address};
use crate::decided::{primary, runtime, wait_for_followers, wait_for_members};
use crate::script::Script;
use crate::server::Server;
use crate::{place, poll};

/// What the folder is called in the document.
const FOLDER: &str = "/srv/plone";

/// Longer than a busy machine stands still.
const LEASE: &str = "lease = \"6s\"\n";

/// The token that opens a node over TCP.
const TOKEN: &str = "a token of the testbed";

/// A cluster of four nodes on two sites: `a`, `b` and `c` in group `local`, `d` in `paris`; and a place for a fifth, `e`. Whoever
/// runs commands stands in the folder in which each of them has one, and has `STANDBY_ADMIN=unix:a/admin.sock`. `a` listens on
/// TCP, too, and the file `token` opens that. Addresses are 10.0.0.1 to 10.0.0.5 in the document, and others on this machine.
pub struct Stage {
    folder: TempDir,
    nodes: Vec<Node>,
    /// Nodes with a configuration file that the operator has made.
    added: BTreeMap<String, Server>,
    addresses: Vec<(String, Ipv4Addr)>,
    client: Script,
    /// Where programs are looked for, ours first.
    programs: OsString,
}

impl Stage {
    /// Starts the cluster and a stock client that writes.
    ///
    /// # Errors
    /// Something does not start.
    pub fn new() -> Result<Self> {
        let folder = place::scratch("transcript")?;
        let mut nodes: Vec<Node> = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let follows = Follows::Decided(nodes.first());
            let mut node = Node::new(folder.path(), name, follows)?;
            node.set_identity("plone", SECRET);
            node.set_cluster(LEASE);
            match name {
                "a" => node.set_admin("token_file = \"../token\"\n"),
                "d" => node.set_group("paris"),
                _ => {}
            }
            node.configure(follows)?;
            nodes.push(node);
        }
        for (name, secret) in [("token", TOKEN), ("secret", SECRET)] {
            write_secret(&folder.path().join(name), secret)?;
        }
        nodes[0].init()?;
        for number in 0..nodes.len() {
            nodes[number].start()?;
            wait_for_members(&nodes[0], [&nodes[number]].into_iter())?;
        }
        wait_for_followers(&nodes)?;
        let mut addresses: Vec<Ipv4Addr> = nodes.iter().map(Node::address).collect();
        addresses.push(own_address());
        let addresses = (1..).zip(addresses).map(|(number, at)| (format!("10.0.0.{number}"), at)).collect();
        let mut client =
            Script::start("transcript.py", nodes[..3].iter().map(|node| node.zeo().to_string()))?;
        client.hear("begun")?;
        let tools = [place::admin_binary()?, place::standby_binary()?];
        let tools = tools.iter().filter_map(|tool| tool.parent()).map(Path::to_owned);
        let others = std::env::var_os("PATH").unwrap_or_default();
        let programs = std::env::join_paths(tools.chain(std::env::split_paths(&others)))?;
        Ok(Self { folder, nodes, added: BTreeMap::new(), addresses, client, programs })
    }

    /// Runs a command in a shell. What it prints, with `[exit N]` where that is not 0.
    ///
    /// # Errors
    /// The shell cannot be started, or what is printed is no text.
    pub fn run(&self, command: &str) -> Result<String> {
        let command = self
            .addresses
            .iter()
            .fold(command.to_owned(), |text, (shown, at)| text.replace(shown, &at.to_string()));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(self.folder.path());
        shell.env("PATH", &self.programs).env("STANDBY_ADMIN", "unix:a/admin.sock").env_remove("COLUMNS");
        let output = shell.stdin(Stdio::null()).output().context("sh does not start")?;
        let printed = self.shown(&String::from_utf8(output.stdout)?);
        let mut text: String = printed.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        match output.status.code() {
            Some(0) => {}
            Some(code) => text.push_str(&format!("[exit {code}]\n")),
            None => bail!("{command:?} was killed: {}", output.status),
        }
        Ok(text)
    }

    /// As it is in the document, where this machine has other names.
    fn shown(&self, output: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let text = output.replace(&folder, FOLDER);
        self.addresses.iter().fold(text, |text, (shown, at)| text.replace(&at.to_string(), shown))
    }

    /// Does what a direction says:
    ///
    /// | direction | what |
    /// |---|---|
    /// | `kill NODE …`, `start NODE …` | it fails (SIGKILL), and is back |
    /// | `commit COUNT` | the client commits so many transactions |
    /// | `in step` | waits until every running node has everything |
    /// | `run NAME` | starts the node with the configuration file `NAME.toml` |
    /// | `until COMMAND shows TEXT` | waits until it prints this, whatever the widths of columns are |
    ///
    /// # Errors
    /// It does not happen, or nothing is known of such a thing.
    pub fn direct(&mut self, direction: &str) -> Result<()> {
        if let Some((command, expected)) =
            direction.strip_prefix("until ").and_then(|rest| rest.split_once(" shows "))
        {
            return self.until(command, expected);
        }
        match direction.split(' ').collect::<Vec<_>>()[..] {
            ["start", ref names @ ..] => names.iter().try_for_each(|name| self.node(name)?.start()),
            ["kill", ref names @ ..] => names.iter().try_for_each(|name| match self.added.remove(*name) {
                Some(mut added) => added.kill(),
                None => self.node(name)?.kill(),
            }),
            ["commit", count] => {
                self.client.tell(&format!("commit {count}"))?;
                self.client.hear("committed").map(drop)
            }
            ["in", "step"] => {
                primary(&self.nodes)?;
                wait_for_followers(&self.nodes).map(drop)
            }
            ["run", name] => self.run_added(name),
            _ => bail!("there is no such direction"),
        }
    }

    fn node(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == name).with_context(|| format!("no node {name}"))
    }

    fn run_added(&mut self, name: &str) -> Result<()> {
        let folder = self.folder.path();
        let (stdout, stderr) =
            (folder.join(format!("{name}.stdout.log")), folder.join(format!("{name}.stderr.log")));
        let mut command = Command::new(place::standby_binary()?);
        command.arg("run").arg(format!("{name}.toml")).current_dir(folder).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&stdout)?).stderr(std::fs::File::create(&stderr)?);
        let mut server = Server::spawn(command, stdout, stderr)?;
        poll::until("the node to be ready", poll::PATIENCE, || server.ready())?;
        self.added.insert(name.to_owned(), server);
        Ok(())
    }

    fn until(&self, command: &str, expected: &str) -> Result<()> {
        let mut last = String::new();
        let waited = poll::until(&format!("{expected:?}"), poll::PATIENCE, || {
            last = self.run(command)?;
            Ok(shape(&last).contains(&shape(expected)).then_some(()))
        });
        waited.with_context(|| last)
    }

    /// Whether a node was promoted by itself, which no direction asks for.
    ///
    /// # Errors
    /// No node tells.
    pub fn has_failed_over(&self) -> Result<bool> {
        let mut running = self.nodes.iter().filter(|node| node.server.is_some());
        let history = running.find_map(|node| runtime().ok()?.block_on(node.control().history()).ok());
        let history = history.context("no node tells its history")?;
        Ok(history.happenings.iter().any(|entry| entry.text.contains("(failover")))
    }

    /// Stops everything.
    ///
    /// # Errors
    /// A node does not end as it should.
    pub fn end(mut self) -> Result<()> {
        self.client.tell("stop")?;
        self.client.end()?;
        ensure!(self.added.is_empty(), "nodes run that were added: the document ends too early");
        self.nodes.iter_mut().filter(|node| node.server.is_some()).try_for_each(Node::stop)
    }
}

/// For its owner alone.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, secret)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
