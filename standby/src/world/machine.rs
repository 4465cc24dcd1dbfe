use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::net::{RecvFlags, recv};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use tokio::task::spawn_blocking;

/// A moment of a clock that only goes forward.
pub type Instant = std::time::Instant;

/// Sockets.
pub mod net {
    pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    pub use tokio::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
}

/// Connections that the kernel may hold ready for us.
const BACKLOG: i32 = 1024;

/// This moment by the runtime's clock, which tests may let stand.
pub(crate) fn runtime_now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What the decided log runs on.
pub type RaftRuntime = openraft::TokioRuntime;

/// A table whose order nobody foresees.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V>;

/// Time since the machine was started; it counts while that sleeps.
pub(crate) fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A number that nobody else comes to.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(SystemTime::now())
}

/// Starts to listen.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    net::TcpListener::from_std(socket.into())
}

/// Small messages leave at once; a peer that vanished without a word is found out after `idle`, asked every `interval`.
pub(crate) fn prepare(stream: &net::TcpStream, idle: Duration, interval: Duration) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Whether [`receive_now`] is possible.
pub(crate) const RECEIVES_NOW: bool = true;

/// Receives what is there, without waiting.
pub(crate) fn receive_now(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(stream, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Tells whoever started the program.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
