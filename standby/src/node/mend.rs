//! Copies that cannot go on as they are: those with lost transactions, and those that must be begun anew.
//!
//! The node stops serving for it: what clients, streams and caches know of the copy is known anew afterwards.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use replica::{OpenOptions, RewindError, Storage, Tid};
use tokio::task::JoinSet;
use tracing::warn;

use super::peers::Copies;
use crate::cli::storage_spec::StorageSpec;
use crate::progress::LoggedProgress;
use crate::replication::copy::Repair;

/// What is to be done, by the names of the storages.
pub(super) type Repairs = BTreeMap<String, Repair>;

/// Waits until a copy must be mended.
pub(super) async fn asked_for(copies: &Copies) -> Repairs {
    let mut asked = JoinSet::new();
    for copy in copies.values() {
        let mut repair = copy.repair();
        asked.spawn(async move {
            if repair.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
    }
    if asked.join_next().await.is_none() {
        std::future::pending::<()>().await;
    }
    copies.iter().filter_map(|(name, copy)| Some((name.clone(), (*copy.repair().borrow())?))).collect()
}

/// Mends copies that nobody has open.
pub(super) fn mend(specs: &[StorageSpec], repairs: &Repairs) -> Result<()> {
    for spec in specs {
        match repairs.get(&spec.name) {
            None => {}
            Some(Repair::SetAside) => set_aside(spec)?,
            Some(Repair::Rewind(fork)) => rewind(spec, *fork)?,
        }
    }
    Ok(())
}

fn set_aside(spec: &StorageSpec) -> Result<()> {
    let folder = replica::set_aside(&spec.path, spec.blob_dir.as_deref())
        .with_context(|| format!("cannot set {} aside", spec.path.display()))?;
    warn!(storage = %spec.name, to = %folder.display(), "the copy could not be continued: it was set aside, and is begun anew");
    Ok(())
}

fn rewind(spec: &StorageSpec, fork: Tid) -> Result<()> {
    let options = OpenOptions { create: false, blob_dir: spec.blob_dir.clone(), ..OpenOptions::default() };
    let progress = LoggedProgress::new(&spec.name);
    let failed = || format!("cannot rewind {}", spec.path.display());
    let (storage, _) = Storage::open(&spec.path, &options, &progress).with_context(failed)?;
    let rewound = storage.rewind(fork, &storage.lost_folder(), &progress);
    let lineage = rewound.is_ok().then(|| storage.lineage()).transpose()?;
    if let Some(mut lineage) = lineage {
        lineage.epochs = lineage.epochs.up_to(fork);
        storage.set_lineage(&lineage)?;
    }
    storage.close().with_context(failed)?;
    match rewound {
        Ok(report) => {
            warn!(
                storage = %spec.name,
                %fork,
                lost = report.transactions.len(),
                saved_to = ?report.saved_to,
                "lost transactions were saved and taken back"
            );
            Ok(())
        }
        Err(error @ RewindError::CannotRewind { .. }) => {
            warn!(storage = %spec.name, %error, "the lost transactions cannot be taken back");
            set_aside(spec)
        }
        Err(error) => Err(error).with_context(failed),
    }
}
