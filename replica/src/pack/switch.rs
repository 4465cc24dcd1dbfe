use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::copy::Copy;
use super::run::Ctx;
use super::{PackError, PackStage, leftovers};
use crate::index::Mark;
use crate::inner::Generation;
use crate::log::LogFile;
use crate::positions::Positions;
use crate::recent::Recent;
use crate::world;
use crate::world::fs;
use crate::world::sync_directory_of;
use crate::{Oid, ReadError};

/// The log of before is waited for so long, until nobody reads it any more.
const RETIRE_AFTER: Duration = Duration::from_secs(2);

/// The packed log is the log now.
pub(super) struct Switched {
    pub(super) before: Arc<Generation>,
    pub(super) mark_before: Mark,
    pub(super) mark_after: Mark,
    /// For how long commits were stopped.
    pub(super) stopped: Duration,
}

/// Copies the rest and puts the packed log in the place of the log, with commits stopped. All that takes long was
/// done before: the packed log and its index are durable but for the rest.
pub(super) fn switch(ctx: &Ctx<'_>, before: Arc<Generation>, copy: Copy) -> Result<Switched, PackError> {
    let recent = Recent::new(ctx.inner.options.recent_entries);
    copy.warm(&before.positions.recent, &recent);
    ctx.inner.while_nobody_commits(|| {
        let started = Instant::now();
        let (mark_before, mark_after) = put_in_use(ctx, &before, copy, recent)?;
        Ok(Switched { before, mark_before, mark_after, stopped: started.elapsed() })
    })
}

/// The same with commits stopped: what readers see before and after.
fn put_in_use(
    ctx: &Ctx<'_>,
    before: &Arc<Generation>,
    mut copy: Copy,
    recent: Recent,
) -> Result<(Mark, Mark), PackError> {
    ctx.tell(PackStage::Stopped, 0, 0)?;
    let mark_before = before.mark();
    copy.slice(before, mark_before.end, u64::MAX)?;
    if (copy.mark.checksum, copy.mark.last_tid) != (mark_before.checksum, mark_before.last_tid) {
        let what = format!("the copy ends with {} and checksum {}", copy.mark.last_tid, copy.mark.checksum);
        return Err(ReadError::corrupt(mark_before.end, what).into());
    }
    copy.output.sync()?;
    ctx.tell(PackStage::Complete, 0, 0)?;

    // Whoever pins something in the old log is either looked at here, or sees the new one.
    ctx.inner.pins.settled(copy.anchor.tid, |pinned| {
        copy.check_pins(before, pinned)?;
        let anchor = copy.anchor;
        let indexed =
            copy.index.mark()?.ok_or_else(|| ReadError::corrupt(0, "the packed log's index is empty"))?;
        let positions = Positions::with_recent(copy.index, &copy.mark, recent);
        // What the index does not have yet, as if it had just been committed.
        crate::drainer::keep_latest(&mut copy.new_objects);
        let mut new = Vec::new();
        for (oid, position) in &copy.new_objects {
            let oid = Oid::new(*oid);
            if positions.index.object(oid)?.is_none() {
                new.push(oid);
            }
            positions.commit(oid, *position, None);
        }
        let mark = Mark { objects: indexed.objects + new.len() as u64, ..copy.mark };
        positions.commit_transactions(&copy.new_transactions, new.into_iter());
        let log = Arc::new(LogFile::new(copy.output.into_file()));
        ctx.inner.space.switch(&log, mark.end, || put_in_place(ctx, &ctx.inner.path))?;
        let next = Generation::start(log, Arc::new(positions), Some(anchor), indexed, mark);
        if mark.end != indexed.end {
            next.drainer.push(copy.new_objects.into_iter(), copy.new_transactions.into_iter(), mark);
        }
        let replaced = ctx.inner.replace(next);
        assert!(Arc::ptr_eq(before, &replaced), "nobody else puts a log in place");
        Ok((mark_before, mark))
    })
}

/// Renames the packed log to the log. An error means that it was not.
fn put_in_place(ctx: &Ctx<'_>, path: &Path) -> Result<(), PackError> {
    let old = leftovers::old_path(path);
    let packed = leftovers::packed_path(path);
    let mut moved = false;
    if ctx.options.keep_old {
        match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        if fs::hard_link(path, &old).is_err() {
            fs::rename(path, &old)?;
            moved = true;
        }
        ctx.progress.packing(PackStage::OldNamed, 0, 0);
    }
    if let Err(error) = fs::rename(&packed, path) {
        if moved {
            fs::rename(&old, path)?;
        }
        return Err(error.into());
    }
    if let Err(error) = sync_directory_of(path) {
        // After a power failure the log of before could be back, without what is committed from here on.
        ctx.inner.failed.get_or_init(|| format!("the folder of the packed log could not be synced: {error}"));
        tracing::error!(%error, "the packed log's folder could not be synced; nothing is committed any more");
    }
    ctx.progress.packing(PackStage::Renamed, 0, 0);
    Ok(())
}

/// Takes leave of the log of before, when the last reader has.
pub(super) fn retire(before: Arc<Generation>, path: &Path, keep_old: bool) {
    before.drainer.abandon();
    if keep_old {
        // Space that was taken for commits.
        let end = before.mark().end;
        if let Err(error) = before.log.file().set_len(end) {
            tracing::debug!(%error, path = %path.display(), "reserved space of the old log was not given back");
        }
    }
    // So that what is freed is freed here, and not in the middle of a read.
    world::wait_until(RETIRE_AFTER, Duration::from_millis(5), || Arc::strong_count(&before) == 1);
}
