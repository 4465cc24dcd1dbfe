//! Nodes on one machine: `standby run` with configurations of our own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use crate::server::Server;
use crate::{place, poll};

/// A node, running or not. It has a loopback address of its own, so that its ports are nobody else's.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    folder: PathBuf,
    /// Its process, while it runs.
    pub server: Option<Server>,
    address: Ipv4Addr,
    replication: String,
    cluster: String,
    program: Option<PathBuf>,
}

/// A loopback address that no other node of this or another process has.
fn own_address() -> Ipv4Addr {
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
    /// Whom the cluster says; that node knows the cluster.
    Decided(Option<&'a Node>),
}

impl Node {
    /// A node with its configuration in a folder of its own.
    pub fn new(parent: &Path, name: &str, follows: Follows<'_>) -> Result<Self> {
        let folder = parent.join(name);
        std::fs::create_dir_all(&folder)?;
        let node = Self {
            name: name.to_owned(),
            folder,
            server: None,
            address: own_address(),
            replication: String::new(),
            cluster: String::new(),
            program: None,
        };
        node.configure(follows)?;
        Ok(node)
    }

    /// Runs this program, from the next start on, and not the one that is under test.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// What its section `[cluster]` says besides, from the next [`Node::configure`] on.
    pub fn set_cluster(&mut self, settings: &str) {
        settings.clone_into(&mut self.cluster);
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
            Follows::Fully(node) => ("replica", Some((node, "full"))),
            Follows::Fast(node) => ("replica", Some((node, "fast"))),
            Follows::Decided(_) => ("auto", None),
        };
        let upstream = upstream.map_or(String::new(), |(node, recovery)| {
            format!("[upstream]\naddresses = [\"{}\"]\nrecovery = \"{recovery}\"\n", node.peer())
        });
        let mut cluster = self.cluster.clone();
        if let Follows::Decided(Some(known)) = follows {
            cluster.push_str(&format!("join = [\"{}\"]\n", known.peer()));
        }
        let (zeo, zeo_ro, peer) = (self.zeo(), self.zeo_ro(), self.peer());
        let text = format!(
            "[cluster]\nname = \"testbed\"\nsecret = \"a secret of the testbed\"\n{cluster}\
             [node]\nname = \"{}\"\nrole = \"{role}\"\n\
             [listen]\nzeo = \"{zeo}\"\nzeo_ro = \"{zeo_ro}\"\npeer = \"{peer}\"\n\
             admin = \"unix:{}\"\n\
             {upstream}\
             [replication]\n{}\n\
             [zeo]\nencoding = \"msgpack\"\n\
             [[storage]]\npath = \"{}\"\nblobs = \"{}\"\n",
            self.name,
            self.folder.join("admin.sock").display(),
            self.replication,
            self.data().display(),
            self.folder.join("blobs").display(),
        );
        Ok(std::fs::write(self.configuration(), text)?)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// Its Data.fs.
    pub fn data(&self) -> PathBuf {
        self.folder.join("Data.fs")
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
        standby_admin::client::Client::new(&self.folder.join("admin.sock").display().to_string())
    }

    /// Starts it, and waits until it listens.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new(self.program.clone().map_or_else(place::standby_binary, Ok)?);
        command.arg("run").arg(self.configuration());
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

    /// The last transaction that it serves, as one of its read-only clients is told; `None` while it serves none.
    pub async fn last_transaction(&self) -> Option<zeo_proto::Tid> {
        let ask = async {
            let mut connection = crate::driver::Connection::open_read_only(self.zeo_ro()).await.ok()?;
            connection.call("lastTransaction", &[]).await.ok()?.as_tid()
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), ask).await.ok().flatten()
    }
}
