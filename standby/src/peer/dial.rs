//! Making connections, and answering them.

use std::time::Duration;

use tracing::info;

use super::connection::Connection;
use super::driver;
use super::error::ConnectError;
use super::handshake::greet;
use super::identity::Identity;
use super::mux::Side;
use super::tcp::TcpTransport;
use super::transport::Transport;

/// Connects to a node at `HOST:PORT`.
pub async fn dial(host_and_port: &str, identity: &Identity) -> Result<Connection, ConnectError> {
    identity.quiet.over().await;
    let transport = TcpTransport::connect(host_and_port, identity.limits.handshake).await?;
    connect(transport, identity).await
}

/// Makes a peer connection of what was connected, as the side that did.
pub async fn connect<T: Transport>(transport: T, identity: &Identity) -> Result<Connection, ConnectError> {
    establish(Side::Dialer, transport, identity).await
}

/// Makes a peer connection of what was accepted.
pub async fn accept<T: Transport>(transport: T, identity: &Identity) -> Result<Connection, ConnectError> {
    establish(Side::Listener, transport, identity).await
}

async fn establish<T: Transport>(
    side: Side,
    transport: T,
    identity: &Identity,
) -> Result<Connection, ConnectError> {
    identity.quiet.over().await;
    let limit: Duration = identity.limits.handshake;
    let address = transport.remote();
    let (mut sink, mut source) = transport.split();
    let established = tokio::time::timeout(limit, greet(side, identity, &mut sink, &mut source))
        .await
        .map_err(|_| ConnectError::TimedOut(limit))??;
    info!(node = %established.remote.node, %address, version = established.version, ?side, "peer connected");
    Ok(driver::start(side, identity, (sink, source), established, address))
}
