//! Where other nodes connect.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tracing::warn;

use super::connection::Connection;
use super::dial::accept;
use super::error::ConnectError;
use super::identity::Identity;
use super::tcp::TcpTransport;

use crate::world::Instant;
use crate::world::net::TcpListener;

/// Time between two lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where other nodes connect, over TCP.
pub struct PeerListener {
    socket: TcpListener,
    identity: Arc<Identity>,
    handshakes: JoinSet<(SocketAddr, Result<Connection, ConnectError>)>,
    /// Those of `handshakes` that may be under way, oldest first.
    under_way: VecDeque<AbortHandle>,
    complaints: Complaints,
}

impl PeerListener {
    /// Starts to listen at `HOST:PORT` (port 0 picks one).
    pub async fn bind(host_and_port: &str, identity: Arc<Identity>) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(host_and_port).await?, identity))
    }

    /// Listens at a socket that was bound.
    pub fn new(socket: TcpListener, identity: Arc<Identity>) -> Self {
        let complaints = Complaints::default();
        Self { socket, identity, handshakes: JoinSet::new(), under_way: VecDeque::new(), complaints }
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection whose handshake succeeded. Those that fail get a line in the log, one a second at most. Handshakes
    /// go on while this is awaited; dropped before it is ready, it has lost nothing.
    pub async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next(), if !self.handshakes.is_empty() => match done {
                    Ok((_, Ok(connection))) => return connection,
                    Ok((address, Err(error))) => self.complaints.tell(address, &error),
                    Err(_) => {} // put an end to, below
                },
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, address)) => self.begin(TcpTransport::new(stream), address),
                    Err(error) => {
                        warn!(%error, "a peer connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Begins a handshake. Where there are too many, the oldest gives way: an honest one takes milliseconds.
    fn begin(&mut self, transport: TcpTransport, address: SocketAddr) {
        self.under_way.retain(|handshake| !handshake.is_finished());
        if self.under_way.len() >= self.identity.limits.handshakes_max
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        let identity = self.identity.clone();
        let handshake = self.handshakes.spawn(async move { (address, accept(transport, &identity).await) });
        self.under_way.push_back(handshake);
    }
}

/// Lines about refused connections, of which a hostile network can make any number.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    untold: u64,
}

impl Complaints {
    fn tell(&mut self, address: SocketAddr, error: &ConnectError) {
        if let Some(untold) = self.admit(Instant::now()) {
            warn!(%address, %error, untold, "refused a peer connection");
        }
    }

    /// Whether a line may be written now, and how many were not since the last.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + LOG_INTERVAL) {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_told_once_a_second_with_the_number_of_those_that_were_not() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.admit(start), Some(0));
        assert_eq!(complaints.admit(start), None);
        assert_eq!(complaints.admit(start + LOG_INTERVAL / 2), None);
        assert_eq!(complaints.admit(start + LOG_INTERVAL), Some(2));
        assert_eq!(complaints.admit(start + LOG_INTERVAL * 2), Some(0));
    }
}
