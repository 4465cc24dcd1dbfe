//! Where clients connect: TCP and Unix sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::busy_poll::ReceiveNow;
use crate::connection;
use crate::door::Door;
use crate::refusals::Refusals;
use crate::server::Served;
use crate::world::net::{TcpListener, TcpStream};
use crate::world::{self, Instant};

/// Idle time after which the kernel asks whether a client is still there, and how often it asks again.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a TLS handshake may take.
const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// An address to listen on, as it is written in options: `HOST:PORT` (port 0 picks one) or `unix:PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// A TCP host (name or number) and port.
    Tcp(String),
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("a path must follow `unix:`".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        port.parse::<u16>().map_err(|_| {
            format!("expected HOST:PORT or unix:PATH, with a port from 0 to 65535, not {text:?}")
        })?;
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self::Tcp(format!("{host}:{port}")))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens.
pub struct Listener {
    socket: Socket,
    /// The address as clients reach it, with the port that was picked.
    pub address: ListenAddress,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Starts to listen. Connections wait until [`Listener::serve`] takes them.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(host_and_port) => {
                let socket = bind_tcp(host_and_port).await?;
                let address = ListenAddress::Tcp(socket.local_addr()?.to_string());
                Ok(Self { socket: Socket::Tcp(socket), address })
            }
            ListenAddress::Unix(path) => {
                remove_dead_socket(path)?;
                let socket = UnixListener::bind(path)?;
                Ok(Self { socket: Socket::Unix(socket), address: address.clone() })
            }
        }
    }

    /// Serves clients until the server stops, then waits for their connections to end.
    pub async fn serve(
        self,
        served: Arc<Served>,
        door: Door,
        tls: watch::Receiver<Option<TlsAcceptor>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut refusals = Refusals::default();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.accept() => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of file descriptors, usually: others may end meanwhile.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let limit = served.limits().connections_max;
            if connections.len() >= limit {
                if let Some(refused) = refusals.add(Instant::now()) {
                    warn!(peer = %stream.peer(), limit, refused, "refused a connection: there are as many as the limit allows");
                }
                continue;
            }
            let (served, door, tls) = (served.clone(), door.clone(), tls.borrow().clone());
            connections.spawn(stream.serve(served, door, tls, shutdown.clone()));
        }
        drop(self.socket);
        if let ListenAddress::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
        while connections.join_next().await.is_some() {}
        info!(address = %self.address, "stopped listening");
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => socket.accept().await.map(|(stream, peer)| Stream::Tcp(stream, peer)),
            Socket::Unix(socket) => socket.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Stream {
    /// Where it comes from, for the log.
    fn peer(&self) -> String {
        match self {
            Self::Tcp(_, peer) => peer.to_string(),
            Self::Unix(_) => "unix".to_owned(),
        }
    }

    async fn serve(
        self,
        served: Arc<Served>,
        door: Door,
        tls: Option<TlsAcceptor>,
        shutdown: watch::Receiver<bool>,
    ) {
        served.quiet.over().await;
        let peer = self.peer();
        match self {
            Self::Tcp(stream, _) => {
                prepare_tcp(&stream);
                secured(stream, served, door, tls, peer, shutdown).await;
            }
            Self::Unix(stream) => secured(stream, served, door, tls, peer, shutdown).await,
        }
    }
}

/// A connection, with TLS or without. In boxes: one without needs no room for what one with it needs, and thousands may be
/// idle.
fn secured<S>(
    stream: S,
    served: Arc<Served>,
    door: Door,
    tls: Option<TlsAcceptor>,
    peer: String,
    shutdown: watch::Receiver<bool>,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: AsyncRead + AsyncWrite + ReceiveNow + Unpin + Send + 'static,
{
    let Some(tls) = tls else { return Box::pin(connection::serve(stream, served, door, peer, shutdown)) };
    Box::pin(async move {
        match tokio::time::timeout(TLS_HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => connection::serve(stream, served, door, peer, shutdown).await,
            Ok(Err(error)) => warn!(%peer, %error, "refused a connection: the TLS handshake failed"),
            Err(_) => warn!(%peer, "refused a connection: the TLS handshake took too long"),
        }
    })
}

/// Listens at the first address of the host that can be had.
pub(crate) async fn bind_tcp(host_and_port: &str) -> io::Result<TcpListener> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in world::net::lookup_host(host_and_port).await? {
        match world::listen(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Small messages leave at once; a client that vanished without a word is found out. (Clients cannot be relied on
/// for heartbeats: one that was kept waiting for the greeting sends none.)
pub(crate) fn prepare_tcp(stream: &TcpStream) {
    if let Err(error) = world::prepare(stream, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL) {
        warn!(%error, "a socket option could not be set");
    }
}

/// A socket file that a server left behind when it was killed; one that a server still listens on stays.
pub(crate) fn remove_dead_socket(path: &std::path::Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_port_or_a_path() {
        let tcp = |text: &str| Ok(ListenAddress::Tcp(text.to_owned()));
        assert_eq!("127.0.0.1:8100".parse(), tcp("127.0.0.1:8100"));
        assert_eq!("[::1]:0".parse(), tcp("[::1]:0"));
        assert_eq!("8100".parse(), tcp("0.0.0.0:8100"));
        assert_eq!("unix:/run/zeo".parse(), Ok(ListenAddress::Unix("/run/zeo".into())));
        assert!("localhost".parse::<ListenAddress>().is_err());
        assert!("localhost:70000".parse::<ListenAddress>().is_err());
        assert!("unix:".parse::<ListenAddress>().is_err());
    }
}
