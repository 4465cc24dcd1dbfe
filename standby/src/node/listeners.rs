//! The sockets of a node on which ZEO clients come in.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use super::tuning::Tuning;
use crate::config::NodeConfig;
use crate::door::{Door, Keeper};
use crate::listener::{ListenAddress, Listener};
use crate::server::Served;
use crate::supervisor;

/// The doors of a node's listeners; `None`: nobody comes in there. Clones are the same.
#[derive(Clone)]
pub(crate) struct Doors {
    /// Of `zeo`.
    pub(crate) read_write: Option<Door>,
    /// Of `zeo_ro`.
    pub(crate) read_only: Option<Door>,
}

/// The listeners of a node, bound.
pub(super) struct Listeners {
    zeo: Option<Listener>,
    zeo_ro: Option<Listener>,
}

impl Listeners {
    pub(super) async fn bind(config: &NodeConfig) -> Result<Self> {
        Ok(Self {
            zeo: bind(config.listen.zeo.as_ref()).await?,
            zeo_ro: bind(config.listen.zeo_ro.as_ref()).await?,
        })
    }

    /// The address of a listener, HOST:PORT as it was picked; `None`: there is none, or it is on this machine alone.
    pub(super) fn address(&self, zeo_ro: bool) -> Option<SocketAddr> {
        match &(if zeo_ro { &self.zeo_ro } else { &self.zeo }).as_ref()?.address {
            ListenAddress::Tcp(address) => address.parse().ok(),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Where clients come in, as the doors' keepers say.
    pub(super) fn doors(&self, read_write: &Keeper, read_only: &Keeper, tuning: &Tuning) -> Doors {
        let parked_max = || tuning.parked_max.subscribe();
        let read_write = self.zeo.as_ref().map(|_| read_write.read_write(parked_max()));
        let behind_limit = || tuning.behind_limit.subscribe();
        let read_only = self.zeo_ro.as_ref().map(|_| read_only.read_only(parked_max(), behind_limit()));
        Doors { read_write, read_only }
    }

    /// Lets clients in, and tells whoever started the node that it serves.
    pub(super) fn serve(
        self,
        served: &Arc<Served>,
        doors: Doors,
        tuning: &Tuning,
        peer: Option<SocketAddr>,
        admin: &[SocketAddr],
        stopped: &watch::Receiver<bool>,
    ) -> Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let mut ready = Vec::new();
        let doors = [("zeo", self.zeo, doors.read_write), ("zeo_ro", self.zeo_ro, doors.read_only)];
        for (name, listener, door) in doors {
            let (Some(listener), Some(door)) = (listener, door) else { continue };
            ready.push(format!("{name}={}", listener.address));
            info!(listener = name, address = %listener.address, "serving");
            tasks.spawn(listener.serve(served.clone(), door, tuning.tls.subscribe(), stopped.clone()));
        }
        ready.extend(peer.map(|peer| format!("peer={peer}")));
        ready.extend(admin.iter().map(|admin| format!("admin={admin}")));
        supervisor::ready(&ready)?;
        Ok(tasks)
    }
}

async fn bind(address: Option<&ListenAddress>) -> Result<Option<Listener>> {
    let Some(address) = address else { return Ok(None) };
    Listener::bind(address).await.with_context(|| format!("cannot listen on {address}")).map(Some)
}
