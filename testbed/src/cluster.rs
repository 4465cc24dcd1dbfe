//! Nodes on one machine: `standby run` with configurations of our own.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use crate::server::Server;
use crate::{place, poll};

/// What the nodes of a cluster prove to each other, unless a test says otherwise.
pub const SECRET: &str = "a secret of the testbed";

/// A node, running or not. It has a loopback address of its own, so that its ports are nobody else's.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    folder: PathBuf,
    /// Its process, while it runs.
    pub server: Option<Server>,
    address: Ipv4Addr,
    upstream: String,
    replication: String,
    cluster: String,
    group: String,
    advertised: Option<SocketAddr>,
    cluster_name: String,
    secret: String,
    encoding: &'static str,
    program: Option<PathBuf>,
    disk: PathBuf,
    namespace: Option<String>,
    admin: Option<String>,
    variables: Vec<(String, OsString)>,
}

/// A loopback address that no other node of this or another process has.
pub fn own_address() -> Ipv4Addr {
    static NODES: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let byte = |number: u32| (number % 250) as u8 + 1;
    Ipv4Addr::new(127, byte(process), byte(process / 250), NODES.fetch_add(1, Ordering::Relaxed))
}

/// What a node follows.
#[derive(Clone, Copy, Debug)]
pub enum Follows<'a> {
    /// Nobody: it is the primary.
    Nobody,
    /// That node, with a full recovery where one is needed.
    Fully(&'a Node),
    /// That node, with a fast recovery where one is needed.
    Fast(&'a Node),
    /// Whoever is reached at this address, such as one of a [`Link`](crate::link::Link), as [`Follows::Fully`].
    Address(SocketAddr),
    /// Whom the cluster says; that node knows the cluster.
    Decided(Option<&'a Node>),
    /// Nobody: it has no data, and votes. That node knows the cluster.
    Votes(&'a Node),
}

impl Node {
    /// A node with its configuration in a folder of its own.
    pub fn new(parent: &Path, name: &str, follows: Follows<'_>) -> Result<Self> {
        let folder = parent.join(name);
        std::fs::create_dir_all(&folder)?;
        let node = Self {
            name: name.to_owned(),
            disk: folder.clone(),
            folder,
            server: None,
            address: own_address(),
            upstream: String::new(),
            replication: String::new(),
            cluster: String::new(),
            group: String::new(),
            advertised: None,
            cluster_name: "testbed".to_owned(),
            secret: SECRET.to_owned(),
            encoding: "msgpack",
            program: None,
            namespace: None,
            admin: None,
            variables: Vec::new(),
        };
        node.configure(follows)?;
        Ok(node)
    }

    /// Runs this program, from the next start on, and not the one that is under test.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// Runs with this environment variable, from the next start on.
    pub fn set_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Keeps its data in this folder, from the next [`Node::configure`] on.
    pub fn set_disk(&mut self, folder: &Path) {
        folder.clone_into(&mut self.disk);
    }

    /// Runs it in this network namespace, where it has this address, from the next [`Node::configure`] on.
    pub fn set_namespace(&mut self, namespace: &str, address: Ipv4Addr) {
        (self.namespace, self.address) = (Some(namespace.to_owned()), address);
    }

    /// Listens on this address of the machine, from the next [`Node::configure`] on.
    pub fn set_address(&mut self, address: Ipv4Addr) {
        self.address = address;
    }

    /// What its section `[upstream]` says further, from the next [`Node::configure`] on.
    pub fn set_upstream(&mut self, settings: &str) {
        settings.clone_into(&mut self.upstream);
    }

    /// What its section `[cluster]` says besides, from the next [`Node::configure`] on.
    pub fn set_cluster(&mut self, settings: &str) {
        settings.clone_into(&mut self.cluster);
    }

    /// It is at this site, another than that of the nodes that vote, from the next [`Node::configure`] on.
    pub fn set_group(&mut self, group: &str) {
        self.group = format!("group = \"{group}\"\nvoter = false\n");
    }

    /// It is at this site, that of the nodes that vote, from the next [`Node::configure`] on.
    pub fn set_home(&mut self, group: &str) {
        self.group = format!("group = \"{group}\"\n");
    }

    /// Its control API listens on TCP, too, with this in its section `[admin]`, from the next [`Node::configure`] on.
    pub fn set_admin(&mut self, settings: &str) {
        self.admin = Some(settings.to_owned());
    }

    /// Others reach it there, such as over a [`Link`](crate::link::Link), from the next [`Node::configure`] on.
    pub fn set_advertised(&mut self, address: SocketAddr) {
        self.advertised = Some(address);
    }

    /// Takes it for a node of another cluster, from the next [`Node::configure`] on.
    pub fn set_identity(&mut self, cluster: &str, secret: &str) {
        cluster.clone_into(&mut self.cluster_name);
        secret.clone_into(&mut self.secret);
    }

    /// The encoding that its clients are offered, from the next [`Node::configure`] on.
    pub fn set_encoding(&mut self, encoding: &'static str) {
        self.encoding = encoding;
    }

    /// Makes a cluster of this node alone.
    pub fn init(&self) -> Result<()> {
        let program = self.program.clone().map_or_else(place::standby_binary, Ok)?;
        let output = Command::new(program).arg("init").arg(self.configuration()).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "node {} cannot make a cluster: {told}", self.name);
        Ok(())
    }

    /// What its section `[replication]` says, from the next [`Node::configure`] on.
    pub fn set_replication(&mut self, settings: &str) {
        settings.clone_into(&mut self.replication);
    }

    /// Writes the configuration anew, for the next start.
    pub fn configure(&self, follows: Follows<'_>) -> Result<()> {
        let (role, upstream) = match follows {
            Follows::Nobody => ("primary", None),
            Follows::Fully(node) => ("replica", Some((node.peer(), "full"))),
            Follows::Fast(node) => ("replica", Some((node.peer(), "fast"))),
            Follows::Address(address) => ("replica", Some((address, "full"))),
            Follows::Decided(_) => ("auto", None),
            Follows::Votes(known) => return self.configure_witness(known),
        };
        let upstream = upstream.map_or(String::new(), |(address, recovery)| {
            let further = &self.upstream;
            format!("[upstream]\naddresses = [\"{address}\"]\nrecovery = \"{recovery}\"\n{further}\n")
        });
        let mut cluster = self.cluster.clone();
        if let Follows::Decided(Some(known)) = follows {
            cluster.push_str(&format!("join = [\"{}\"]\n", known.peer()));
        }
        let advertised =
            self.advertised.map_or(String::new(), |address| format!("address = \"{address}\"\n"));
        let (group, zeo, zeo_ro, peer) = (&self.group, self.zeo(), self.zeo_ro(), self.peer());
        let text = format!(
            "[cluster]\nname = \"{}\"\nsecret = \"{}\"\n{cluster}\
             [node]\nname = \"{}\"\nrole = \"{role}\"\n{advertised}{group}\
             [listen]\nzeo = \"{zeo}\"\nzeo_ro = \"{zeo_ro}\"\npeer = \"{peer}\"\n\
             admin = {}\n\
             {upstream}\
             [replication]\n{}\n\
             [zeo]\nencoding = \"{}\"\n\
             [[storage]]\npath = \"{}\"\nblobs = \"{}\"\n",
            self.cluster_name,
            self.secret,
            self.name,
            self.admin_listeners(),
            self.replication,
            self.encoding,
            self.data().display(),
            self.blobs().display(),
        );
        Ok(std::fs::write(self.configuration(), text)?)
    }

    fn configure_witness(&self, known: &Self) -> Result<()> {
        let text = format!(
            "[cluster]\nname = \"{}\"\nsecret = \"{}\"\n{}join = [\"{}\"]\n\
             [node]\nname = \"{}\"\nrole = \"witness\"\ncontrol = \"{}\"\n{}\
             [listen]\npeer = \"{}\"\nadmin = {}\n",
            self.cluster_name,
            self.secret,
            self.cluster,
            known.peer(),
            self.name,
            self.disk.join("control.redb").display(),
            self.group,
            self.peer(),
            self.admin_listeners(),
        );
        Ok(std::fs::write(self.configuration(), text)?)
    }

    /// What `admin` in its `[listen]` says, with the section `[admin]` behind it where there is one.
    fn admin_listeners(&self) -> String {
        let socket = self.socket();
        match &self.admin {
            None => format!("\"unix:{}\"", socket.display()),
            Some(settings) => {
                format!("[\"unix:{}\", \"{}\"]\n[admin]\n{settings}", socket.display(), self.admin())
            }
        }
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// The socket of its control API.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Where its control API listens on TCP, after [`Node::set_admin`].
    pub fn admin(&self) -> SocketAddr {
        SocketAddr::from((self.address, 8300))
    }

    /// Its Data.fs.
    pub fn data(&self) -> PathBuf {
        self.disk.join("Data.fs")
    }

    /// Its blobs.
    pub fn blobs(&self) -> PathBuf {
        self.disk.join("blobs")
    }

    /// Its address, on which it has all its ports.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where its read-write clients connect.
    pub fn zeo(&self) -> SocketAddr {
        SocketAddr::from((self.address, 8100))
    }

    /// Where its read-only clients connect.
    pub fn zeo_ro(&self) -> SocketAddr {
        SocketAddr::from((self.address, 8101))
    }

    /// Where other nodes connect.
    pub fn peer(&self) -> SocketAddr {
        SocketAddr::from((self.address, 8200))
    }

    /// Its control API.
    pub fn control(&self) -> standby_admin::client::Client {
        standby_admin::client::Client::new(&self.socket().display().to_string())
    }

    /// Starts it, and waits until it listens.
    pub fn start(&mut self) -> Result<()> {
        let program = self.program.clone().map_or_else(place::standby_binary, Ok)?;
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        };
        let is_witness = std::fs::read_to_string(self.configuration())?.contains("role = \"witness\"");
        command.arg(if is_witness { "witness" } else { "run" }).arg(self.configuration());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let (stdout, stderr) = (self.folder.join("stdout.log"), self.folder.join("stderr.log"));
        let log = File::options().create(true).append(true).open(&stderr)?;
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(log);
        let mut server = Server::spawn(command, stdout, stderr)
            .with_context(|| format!("node {} did not start", self.name))?;
        poll::until("the node to be ready", poll::PATIENCE, || server.ready())?;
        self.server = Some(server);
        Ok(())
    }

    /// The process.
    ///
    /// # Errors
    /// It does not run.
    pub fn server(&mut self) -> Result<&mut Server> {
        self.server.as_mut().with_context(|| format!("node {} does not run", self.name))
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.server()?.kill()?;
        self.server = None;
        Ok(())
    }

    /// SIGTERM, and looks at how it ends.
    pub fn stop(&mut self) -> Result<()> {
        self.server()?.stop()?;
        self.server = None;
        Ok(())
    }

    /// Everything that it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("stderr.log"))?)
    }

    /// What it says of itself, over its control API.
    pub fn status(&self) -> Result<standby_control::NodeStatus> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.control().status())
    }

    /// Waits until its storage is as described, and returns what it says of it.
    pub fn wait_for_status(
        &self,
        what: &str,
        holds: impl Fn(&standby_control::StorageStatus) -> bool,
    ) -> Result<standby_control::StorageStatus> {
        let mut last = None;
        let waited = poll::until(&format!("node {}: {what}", self.name), poll::PATIENCE, || {
            let storage = self.status()?.storages.into_iter().next().context("one storage")?;
            if holds(&storage) {
                return Ok(Some(storage));
            }
            last = Some(storage);
            Ok(None)
        });
        waited.with_context(|| {
            format!("its last status: {last:?}\nits log:\n{}", self.log().unwrap_or_default())
        })
    }

    /// Waits until its log says this.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        let waited = poll::until(&format!("{text:?} in the log of {}", self.name), poll::PATIENCE, || {
            Ok(self.log()?.contains(text).then_some(()))
        });
        waited.with_context(|| self.log().unwrap_or_default())
    }

    /// The last tid and the running checksum, as `standby verify` finds them in its file.
    ///
    /// # Errors
    /// There is damage; the report says what.
    pub fn verified(&self) -> Result<(String, String)> {
        let program = self.program.clone().map_or_else(place::standby_binary, Ok)?;
        let mut verify = Command::new(program);
        let output = verify.args(["verify", "--json"]).arg(self.data()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        anyhow::ensure!(output.status.success(), "node {}: {text}", self.name);
        let report: serde_json::Value = serde_json::from_str(&text)?;
        let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
        Ok((text("last_tid"), text("checksum")))
    }

    /// The last transaction that it serves, as one of its read-only clients is told; `None` while it serves none.
    pub async fn last_transaction(&self) -> Option<zeo_proto::Tid> {
        let ask = async {
            let mut connection = zeo_proto::client::Connection::open_read_only(self.zeo_ro()).await.ok()?;
            connection.call("lastTransaction", &[]).await.ok()?.as_tid()
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), ask).await.ok().flatten()
    }
}
