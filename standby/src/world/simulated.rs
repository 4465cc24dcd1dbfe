mod raft;

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;

/// A moment of a clock that only goes forward.
pub type Instant = tokio::time::Instant;

/// Sockets.
pub mod net {
    pub use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    pub use turmoil::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
}

pub use raft::Seeded as RaftRuntime;

/// A table whose order is the same each time.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// This moment.
pub(crate) fn runtime_now() -> Instant {
    Instant::now()
}

/// All nodes have been started at one time; each has a clock of its own since.
pub(crate) fn since_boot() -> Duration {
    simulated_world::clock::since_boot()
}

/// Out of the seed.
pub(crate) fn random() -> u64 {
    simulated_world::chance::any()
}

/// Does it in a task of its own: no thread waits for a disk here.
pub(crate) fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::spawn(async move { work() })
}

pub(crate) async fn listen(address: SocketAddr) -> io::Result<net::TcpListener> {
    net::TcpListener::bind(address).await
}

pub(crate) fn prepare(_: &net::TcpStream, _: Duration, _: Duration) -> io::Result<()> {
    Ok(())
}

pub(crate) const RECEIVES_NOW: bool = false;

pub(crate) fn receive_now<S>(_: &S, _: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

pub(crate) fn say(line: &str) -> io::Result<()> {
    tracing::info!(line);
    Ok(())
}
