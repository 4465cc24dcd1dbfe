//! A ZEO server as a process: ours or the stock one, through one interface.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use zeo_proto::Encoding;

use crate::{place, poll};

/// Which server.
#[derive(Clone, Debug)]
pub enum Product {
    /// `standby serve`, of the binary at this path.
    Standby(PathBuf),
    /// The stock server, `ZEO.runzeo`, under the Python at this path.
    Runzeo(PathBuf),
}

impl Product {
    /// The server under test. `STANDBY_TESTBED_SERVER=runzeo` puts the stock server in its place: the way to find
    /// out whether a failing test or the server is wrong.
    pub fn under_test() -> Result<Self> {
        match std::env::var("STANDBY_TESTBED_SERVER").as_deref() {
            Ok("runzeo") => Ok(Self::Runzeo(place::python()?)),
            Ok(other) => bail!("STANDBY_TESTBED_SERVER={other}; it can be runzeo"),
            Err(_) => Ok(Self::Standby(place::standby_binary()?)),
        }
    }

    /// Whether this is the stock server, which some tests know to fall short.
    pub fn is_stock(&self) -> bool {
        matches!(self, Self::Runzeo(_))
    }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Ours or the stock one.
    pub product: Product,
    /// The FileStorage file that it serves as storage `1`.
    pub data: PathBuf,
    /// The directory of its blobs.
    pub blobs: Option<PathBuf>,
    /// What it greets its clients with.
    pub encoding: Encoding,
    /// 0 picks a port.
    pub port: u16,
    /// The Unix socket to listen on, instead of a port.
    pub socket: Option<PathBuf>,
    /// Further options (`standby serve` only).
    pub options: Vec<String>,
}

impl Setup {
    /// The server under test on `data`, on a port of its choice.
    pub fn under_test(data: &Path, encoding: Encoding) -> Result<Self> {
        Ok(Self::new(Product::under_test()?, data, encoding))
    }

    /// `product` on `data`, on a port of its choice.
    pub fn new(product: Product, data: &Path, encoding: Encoding) -> Self {
        Self {
            product,
            data: data.to_owned(),
            blobs: None,
            encoding,
            port: 0,
            socket: None,
            options: Vec::new(),
        }
    }

    /// The command line. The stock server's configuration file goes beside the data.
    pub fn command(&self) -> Result<Command> {
        match &self.product {
            Product::Standby(binary) => {
                let mut command = Command::new(binary);
                let address = match &self.socket {
                    Some(socket) => format!("unix:{}", socket.display()),
                    None => format!("127.0.0.1:{}", self.port),
                };
                command.args(["serve", "--zeo", &address]);
                command.args(["--encoding", encoding_name(self.encoding)]).args(&self.options);
                match &self.blobs {
                    None => command.arg(&self.data),
                    Some(blobs) => {
                        let storage = format!("1={},blobs={}", self.data.display(), blobs.display());
                        command.arg("--storage").arg(storage)
                    }
                };
                Ok(command)
            }
            Product::Runzeo(python) => {
                let configuration = self.data.with_extension("zeo.conf");
                let address = match (&self.socket, self.port) {
                    (Some(socket), _) => socket.display().to_string(),
                    // It picks a port, too, but does not say which.
                    (None, 0) => format!("127.0.0.1:{}", free_port()?),
                    (None, port) => format!("127.0.0.1:{port}"),
                };
                let text = format!(
                    "<zeo>\naddress {}\nmsgpack {}\n</zeo>\n\
                     <filestorage 1>\npath {}\n{}</filestorage>\n",
                    address,
                    self.encoding == Encoding::Msgpack,
                    self.data.display(),
                    self.blobs
                        .as_ref()
                        .map_or(String::new(), |blobs| format!("blob-dir {}\n", blobs.display()))
                );
                std::fs::write(&configuration, text)?;
                let mut command = Command::new(python);
                command.args(["-m", "ZEO.runzeo", "-C"]).arg(configuration);
                command.env_remove("ZEO_MSGPACK").env("PYTHONPATH", place::scripts());
                Ok(command)
            }
        }
    }

    /// Starts it, without waiting until it serves.
    pub fn spawn(&self) -> Result<Server> {
        let stdout = self.data.with_extension("stdout.log");
        let stderr = self.data.with_extension("stderr.log");
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let server = Server::spawn(command, stdout, stderr);
        let server = server.with_context(|| format!("{:?} did not start", self.product))?;
        Ok(Server { stock: self.product.is_stock(), ..server })
    }

    /// Starts it and waits until it serves.
    pub fn start(&self) -> Result<Running> {
        let mut server = self.spawn()?;
        let address = poll::until("the server to be ready", poll::PATIENCE * 5, || server.ready())?;
        Ok(Running { server, address })
    }

    /// Starts it and waits until it serves on its Unix socket.
    pub fn start_on_socket(&self) -> Result<Server> {
        let socket = self.socket.as_ref().context("no Unix socket is set")?;
        let mut server = self.spawn()?;
        poll::until("the server to listen on its socket", poll::PATIENCE, || {
            if let Some(status) = server.ended()? {
                bail!("the server ended ({status}) before it was ready:\n{}", server.log()?);
            }
            Ok(UnixStream::connect(socket).is_ok().then_some(()))
        })?;
        Ok(server)
    }
}

/// A server's process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    stdout: PathBuf,
    stderr: PathBuf,
    stock: bool,
}

impl Server {
    /// Starts a process of ours whose outputs go to these files.
    pub fn spawn(mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Result<Self> {
        Ok(Self { process: Process(command.spawn()?), stdout, stderr, stock: false })
    }

    /// Where it serves, once it says so. Fails when it has ended instead.
    pub fn ready(&mut self) -> Result<Option<SocketAddr>> {
        let announced = if self.stock {
            let log = self.log()?;
            log.lines()
                .find_map(|line| line.split_once("listening on ('127.0.0.1', "))
                .and_then(|(_, rest)| Some(format!("127.0.0.1:{}", rest.split_once(')')?.0)))
        } else {
            let output = std::fs::read_to_string(&self.stdout)?;
            let whole_lines = output.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            // Where clients come in, on a server that has any.
            let mut ready = whole_lines.filter_map(|line| line.strip_prefix("ready "));
            ready.next().and_then(|rest| Some(rest.split(' ').next()?.split_once('=')?.1.to_owned()))
        };
        if let Some(address) = announced {
            return Ok(Some(address.parse().with_context(|| format!("address {address}"))?));
        }
        if let Some(status) = self.process.0.try_wait()? {
            bail!("the server ended ({status}) before it was ready:\n{}", self.log()?);
        }
        Ok(None)
    }

    /// Everything it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.stderr)?).into_owned())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.0.try_wait()?)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        poll::until("the server to end", poll::PATIENCE, || Ok(self.process.0.try_wait()?))
    }

    /// Resident memory in bytes now.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident, in bytes.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)).context("not in the status")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// What it has open: paths, of files that were removed with ` (deleted)` behind them.
    pub fn open_files(&self) -> Result<Vec<String>> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id()))?;
        // One that is closed meanwhile is not open.
        let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Ok(links.map(|link| link.to_string_lossy().into_owned()).collect())
    }

    /// Sets what the process may have at most of a resource, from now on.
    pub fn limit(&self, resource: Resource, most: u64) -> Result<()> {
        prlimit(Some(self.pid()?), resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        Ok(())
    }

    /// The same, in a way that can be taken back.
    pub fn limit_softly(&self, resource: Resource, most: u64) -> Result<()> {
        prlimit(Some(self.pid()?), resource, Rlimit { current: Some(most), maximum: None })?;
        Ok(())
    }

    /// Processor seconds used so far, by all its threads.
    pub fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.process.0.id())?).context("a process id is not 0")
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it stands still.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGHUP: it reads its configuration anew.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end. Fails unless it ended as a server should: with status 0 (the stock server:
    /// or by the signal), without a panic in its log.
    pub fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        let status = self.wait()?;
        if !(status.success() || self.stock) {
            bail!("the server ended with {status}:\n{}", self.log()?);
        }
        if self.log()?.contains("panicked at") {
            bail!("the server panicked:\n{}", self.log()?);
        }
        Ok(())
    }
}

/// Killed when dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Errors only say that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub server: Server,
    /// Where it serves.
    pub address: SocketAddr,
}

/// An encoding's name on the command line.
pub fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Pickle => "pickle",
        Encoding::Msgpack => "msgpack",
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
