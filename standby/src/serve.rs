//! `standby serve`: one server on the user's own files, from start to stop.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use replica::{OpenOptions, OpenReport, PackOptions, Storage};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cli::storage_spec::StorageSpec;
use crate::listener::{ListenAddress, Listener};
use crate::progress::LoggedProgress;
use crate::server::{ConnectionLimits, Served};
use crate::service::invalidations::InvalidationPolicy;
use crate::service::{Service, ServiceOptions};
use crate::tls::{self, TlsOptions};

/// How long the connections may take to end when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Threads that may wait for disks at one time.
const BLOCKING_THREADS_MAX: usize = 64;

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
    /// See [`ServiceOptions::transaction_timeout`].
    pub transaction_timeout: Option<Duration>,
    /// See [`ServiceOptions::load_delay`].
    pub load_delay: Duration,
    /// Bounds on clients.
    pub limits: ConnectionLimits,
    /// The storages.
    pub storages: Vec<StorageSpec>,
}

/// Runs the server until SIGTERM or SIGINT. `on_user_signal` is called at each SIGUSR2.
pub fn run(options: &ServeOptions, on_user_signal: fn()) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let mut user_signal = signal(SignalKind::user_defined2())?;
        tokio::spawn(async move {
            while user_signal.recv().await.is_some() {
                on_user_signal();
            }
        });
        serve(options).await
    })
}

async fn serve(options: &ServeOptions) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let password = std::env::var(tls::PASSWORD_VARIABLE).ok();
    let tls = options.tls.as_ref().map(|options| tls::acceptor(options, password.as_deref())).transpose()?;
    // Bound first: a port that is taken is found before a large file is indexed.
    let listener =
        Listener::bind(&options.zeo).await.with_context(|| format!("cannot listen on {}", options.zeo))?;
    let opening = options.clone();
    let services = tokio::task::spawn_blocking(move || open_storages(&opening));
    let services = tokio::select! {
        services = services => services.map_err(|panic| anyhow!(panic))??,
        _ = terminate.recv() => return Ok(()), // nothing is lost: an index in the making is made again
        _ = interrupt.recv() => return Ok(()),
    };
    let served = Arc::new(Served::new(services, options.encoding, options.limits));

    let (stop, stopped) = watch::channel(false);
    let address = listener.address.clone();
    let serving = tokio::spawn(listener.serve(served.clone(), tls, stopped));
    announce(&address)?;
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(signal, "stopping");
    stop.send_replace(true);
    if tokio::time::timeout(STOP_LIMIT, serving).await.is_err() {
        warn!("some connections did not end in time");
    }
    tokio::task::spawn_blocking(move || close_storages(&served)).await.map_err(|panic| anyhow!(panic))?
}

/// The one line on standard output: whoever started the server may connect now.
fn announce(address: &ListenAddress) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready zeo={address}")
        .and_then(|()| stdout.flush())
        .context("standard output is closed")?;
    info!(%address, "serving");
    Ok(())
}

fn open_storages(options: &ServeOptions) -> Result<Vec<Service>> {
    options.storages.iter().map(|spec| open_storage(options, spec)).collect()
}

fn open_storage(options: &ServeOptions, spec: &StorageSpec) -> Result<Service> {
    let path = &spec.path;
    let open = OpenOptions {
        create: !spec.read_only,
        read_only: spec.read_only,
        blob_dir: spec.blob_dir.clone(),
        ..OpenOptions::default()
    };
    let progress = LoggedProgress::new(&spec.name);
    let (storage, report) =
        Storage::open(path, &open, &progress).with_context(|| format!("cannot open {}", path.display()))?;
    report_opened(spec, &storage, &report);
    let service = ServiceOptions {
        name: spec.name.clone(),
        read_only: options.read_only || spec.read_only,
        invalidations: options.invalidations,
        transaction_timeout: options.transaction_timeout,
        pack: PackOptions { gc: spec.pack_gc, keep_old: spec.pack_keep_old },
        load_delay: options.load_delay,
    };
    Service::new(service, storage).with_context(|| format!("cannot read {}", path.display()))
}

fn report_opened(spec: &StorageSpec, storage: &Storage, report: &OpenReport) {
    info!(
        storage = %spec.name,
        path = %spec.path.display(),
        objects = storage.object_count(),
        bytes = storage.size_bytes(),
        last_tid = %storage.last_tid(),
        scanned_bytes = report.scanned_bytes,
        index = ?report.index,
        created = report.created,
        "opened"
    );
    if let Some(cut) = &report.cut {
        warn!(
            storage = %spec.name,
            position = cut.position,
            bytes = cut.bytes,
            saved_to = ?cut.saved_to,
            reason = %cut.reason,
            "the log ended in an unfinished transaction, which was cut off"
        );
    }
}

fn close_storages(served: &Served) -> Result<()> {
    for service in served.storages() {
        service.close().with_context(|| format!("closing storage {:?}", service.options().name))?;
    }
    Ok(())
}
