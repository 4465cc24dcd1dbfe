//! `standby serve`: one server on the user's own files, from start to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cli::storage_spec::StorageSpec;
use crate::door::Door;
use crate::listener::{ListenAddress, Listener};
use crate::opening::{self, ServiceSettings};
use crate::process::{Signals, run_until_done};
use crate::server::{ConnectionLimits, Served};
use crate::service::invalidations::InvalidationPolicy;
use crate::supervisor;
use crate::tls::{self, ClientCertificate, TlsOptions};
use crate::world;

/// How long the connections may take to end when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Everything that `serve` needs to know.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where read-write clients connect.
    pub zeo: ListenAddress,
    /// Speak TLS with clients.
    pub tls: Option<TlsOptions>,
    /// What the greeting proposes.
    pub encoding: zeo_proto::Encoding,
    /// Refuse read-write clients for all storages.
    pub read_only: bool,
    /// How `getInvalidations` is answered.
    pub invalidations: InvalidationPolicy,
    /// See [`ServiceOptions::transaction_timeout`](crate::service::ServiceOptions::transaction_timeout).
    pub transaction_timeout: Option<Duration>,
    /// See [`ServiceOptions::load_delay`](crate::service::ServiceOptions::load_delay).
    pub load_delay: Duration,
    /// Bounds on clients.
    pub limits: ConnectionLimits,
    /// The storages.
    pub storages: Vec<StorageSpec>,
}

impl ServeOptions {
    fn service_settings(&self) -> ServiceSettings {
        ServiceSettings {
            read_only: self.read_only,
            invalidations: self.invalidations,
            transaction_timeout: self.transaction_timeout,
            load_delay: self.load_delay,
        }
    }
}

/// Runs the server until SIGTERM or SIGINT. `on_user_signal` is called at each SIGUSR2.
pub fn run(options: &ServeOptions, on_user_signal: fn()) -> Result<()> {
    run_until_done(on_user_signal, |signals| serve(options, signals))
}

async fn serve(options: &ServeOptions, mut signals: Signals) -> Result<()> {
    let tls = options
        .tls
        .as_ref()
        .map(|options| tls::acceptor(options, ClientCertificate::Required))
        .transpose()?;
    // Bound first: a port that is taken is found before a large file is indexed.
    let listener =
        Listener::bind(&options.zeo).await.with_context(|| format!("cannot listen on {}", options.zeo))?;
    let opening = options.clone();
    let services =
        world::spawn_blocking(move || opening::open_all(&opening.storages, &opening.service_settings()));
    let services = tokio::select! {
        services = services => services.map_err(|panic| anyhow!(panic))??,
        _ = signals.stop() => return Ok(()), // nothing is lost: an index in the making is made again
    };
    let served = Arc::new(Served::new(services, options.encoding, options.limits));

    let (stop, stopped) = watch::channel(false);
    let address = listener.address.clone();
    let (_, tls) = watch::channel(tls);
    let serving = tokio::spawn(listener.serve(served.clone(), Door::open(), tls, stopped));
    info!(%address, "serving");
    supervisor::ready(&[format!("zeo={address}")])?;
    let signal = signals.stop().await;
    info!(signal, "stopping");
    supervisor::stopping();
    stop.send_replace(true);
    if tokio::time::timeout(STOP_LIMIT, serving).await.is_err() {
        warn!("some connections did not end in time");
    }
    world::spawn_blocking(move || opening::close_all(&served)).await.map_err(|panic| anyhow!(panic))?
}
