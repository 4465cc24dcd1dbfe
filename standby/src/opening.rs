//! Taking storages into service, and out of it.

use std::time::Duration;

use anyhow::{Context, Result};
use replica::{OpenOptions, OpenReport, PackOptions, Storage};
use tracing::{info, warn};

use crate::cli::storage_spec::StorageSpec;
use crate::progress::LoggedProgress;
use crate::server::Served;
use crate::service::invalidations::InvalidationPolicy;
use crate::service::{Service, ServiceOptions};

/// How all storages of a server are served.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSettings {
    /// Refuse read-write clients.
    pub read_only: bool,
    /// See [`ServiceOptions::invalidations`].
    pub invalidations: InvalidationPolicy,
    /// See [`ServiceOptions::transaction_timeout`].
    pub transaction_timeout: Option<Duration>,
    /// See [`ServiceOptions::load_delay`].
    pub load_delay: Duration,
}

/// Opens these storages, which takes long where an index is to be made, and takes them into service.
pub fn open_all(storages: &[StorageSpec], settings: &ServiceSettings) -> Result<Vec<Service>> {
    storages.iter().map(|spec| open(spec, settings)).collect()
}

fn open(spec: &StorageSpec, settings: &ServiceSettings) -> Result<Service> {
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
        read_only: settings.read_only || spec.read_only,
        invalidations: settings.invalidations,
        transaction_timeout: settings.transaction_timeout,
        pack: PackOptions { gc: spec.pack_gc, keep_old: spec.pack_keep_old },
        load_delay: settings.load_delay,
    };
    let lineage = storage.lineage()?;
    let service =
        Service::new(service, storage).with_context(|| format!("cannot read {}", path.display()))?;
    service.set_epochs(lineage.epochs);
    Ok(service)
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

/// Completes what is being committed, and closes the storages.
pub fn close_all(served: &Served) -> Result<()> {
    for service in served.storages() {
        service.close().with_context(|| format!("closing storage {:?}", service.options().name))?;
    }
    Ok(())
}
