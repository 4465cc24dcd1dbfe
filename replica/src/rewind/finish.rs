use std::io;
use std::path::Path;
use std::sync::Arc;

use super::marker::Marker;
use super::{cut, rewind_index, save, survey};
use crate::index::Index;
use crate::log::LogFile;
use crate::world;
use crate::world::fs::File;
use crate::{BlobStore, OpenOptions, Progress, ReadError};

/// Completes a rewind that was cut short, before the log at `path` is opened. The lock is held.
pub(crate) fn finish(path: &Path, options: &OpenOptions, progress: &dyn Progress) -> io::Result<()> {
    let Some(marker) = Marker::read(path)? else { return Ok(()) };
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            progress.note("a rewind was cut short, and the log is gone since; it is given up");
            return Marker::remove(path);
        }
        other => other?,
    };
    let size = file.metadata()?.len();
    let log = Arc::new(LogFile::new(file));
    if let Some(reason) = foreign(&log, &marker, size) {
        progress.note(&format!("a rewind was cut short, and the log {reason} since; it is given up"));
        return Marker::remove(path);
    }
    save::settle(&marker.saved_to)?;
    crate::oids::keep(path, marker.end.max_oid)?;
    if size > marker.end.end {
        if let Err(error) = take_index_back(path, options, &log, &marker, size) {
            // It does not fit the log then, and is made anew.
            progress.note(&format!("the index could not be rewound: {error}"));
        }
        cut(log.file(), marker.end.end)?;
    }
    if let Some(root) = &options.blob_dir {
        let blobs = BlobStore::open(root).map_err(io::Error::other)?;
        save::remove_saved_blobs(&blobs, &marker.saved_to).map_err(io::Error::other)?;
    }
    Marker::remove(path)?;
    progress.note(&format!(
        "a rewind to {} was cut short, and was completed; what was lost is in {}",
        marker.end.last_tid,
        marker.saved_to.display()
    ));
    Ok(())
}

/// Why this is not the log that the marker speaks of.
fn foreign(log: &LogFile, marker: &Marker, size: u64) -> Option<&'static str> {
    let end = &marker.end;
    if size < end.end {
        return Some("is shorter");
    }
    if size > marker.log_end {
        return Some("has grown");
    }
    let has_last = end.last_position == 0
        || log.transaction_head(end.last_position).is_ok_and(|head| head.tid == end.last_tid);
    (!has_last).then_some("was replaced")
}

fn take_index_back(
    path: &Path,
    options: &OpenOptions,
    log: &Arc<LogFile>,
    marker: &Marker,
    size: u64,
) -> Result<(), ReadError> {
    let file = crate::open::index_path(path);
    if !world::exists(&file) {
        return Ok(());
    }
    let index = Index::open(&file, options.index_cache_bytes)?;
    let Some(covered) = index.mark()?.filter(|mark| mark.end > marker.end.end && mark.end <= size) else {
        return Ok(());
    };
    let survey = survey::survey(log, marker.end, covered.end)?;
    rewind_index(&index, marker, &survey)?;
    Ok(())
}
