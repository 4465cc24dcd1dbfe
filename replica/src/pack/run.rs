use std::path::Path;
use std::sync::Arc;

use super::copy::Copy;
use super::objects::Bits;
use super::output::Output;
use super::pace::{Pace, Step};
use super::{PackError, PackOptions, PackStage, Packed, leftovers, reach, survey, switch};
use crate::blobs::RemovalList;
use crate::index::{Index, Mark};
use crate::inner::{Generation, Inner};
use crate::open::{anchor_path, index_path};
use crate::references::ReferenceScanner;
use crate::world;
use crate::world::fs::{self, File};
use crate::{Oid, Progress, ReadError, ReadMode, Tid};

/// Progress is told, and a storage that closes is noticed, after so many bytes of the log.
pub(super) const PROGRESS_BYTES: u64 = 16 << 20;

/// What a pack works with.
pub(super) struct Ctx<'a> {
    pub(super) inner: &'a Inner,
    pub(super) progress: &'a dyn Progress,
    pub(super) options: PackOptions,
}

impl Ctx<'_> {
    /// Says how far it is; fails when the storage closes.
    pub(super) fn tell(&self, stage: PackStage, done: u64, total: u64) -> Result<(), PackError> {
        self.progress.packing(stage, done, total);
        if self.inner.is_closed() { Err(PackError::Stopped) } else { Ok(()) }
    }
}

impl Inner {
    /// Packs once. `None`: there was nothing to gain.
    pub(super) fn pack(
        &self,
        until: Tid,
        options: PackOptions,
        progress: &dyn Progress,
    ) -> Result<Option<Packed>, PackError> {
        if self.is_closed() {
            return Err(PackError::Stopped);
        }
        if let Some(reason) = self.failed.get() {
            return Err(PackError::Failed(reason.clone()));
        }
        leftovers::settle(&self.path, progress)?;
        self.now().positions.index.renamed(&index_path(&self.path));
        self.remove_listed_blobs().map_err(|error| PackError::Blobs(Box::new(error)))?;
        let before = self.now().mark();
        if before.objects == 0 {
            return Ok(None);
        }
        self.check_space(before.end)?;
        // Durable before there is anything else of this pack.
        let packed_path = leftovers::packed_path(&self.path);
        let file = File::options().read(true).write(true).create_new(true).open(packed_path)?;
        let clear_up = ClearUp { path: &self.path };
        crate::world::sync_directory_of(&self.path)?;
        let index = Index::open(&leftovers::staged(&index_path(&self.path)), self.options.index_cache_bytes)?;
        index.apply(&[], &[], &Mark::START, false)?;

        let until = until.min(before.last_tid);
        let end_pack = EndPack(self);
        let pinned = self.pins.begin_pack(until);
        let ctx = Ctx { inner: self, progress, options };
        let generation = self.now_held();
        let Some(mut copy) = ctx.copy(&generation, until, &pinned, Output::new(file), index)? else {
            return Ok(None);
        };
        let blobs = copy.blobs.take().map(RemovalList::finish).transpose()?;
        copy.anchor.write(&leftovers::staged(&anchor_path(&self.path)))?;
        crate::world::sync_directory_of(&anchor_path(&self.path))?;
        let records_dropped = copy.records_dropped;
        ctx.catch_up(&generation, &mut copy)?;
        let switched = switch::switch(&ctx, generation, copy)?;
        // It has taken effect: nothing that fails from here on takes that back.
        std::mem::forget(clear_up);
        drop(end_pack);
        progress.packing(PackStage::Switched, 0, 0);
        let index_named = leftovers::finish(&self.path);
        if index_named.is_ok() {
            self.now().positions.index.renamed(&index_path(&self.path));
        }
        switch::retire(switched.before, &self.path, options.keep_old);
        progress.packing(PackStage::RemovingBlobs, 0, blobs.unwrap_or(0));
        let blobs_removed = index_named.map_err(PackError::Io).and_then(|()| self.remove_listed_blobs());
        let (blobs_removed, unfinished) = match blobs_removed {
            Ok(removed) => (removed, None),
            Err(error) => (0, Some(error.to_string())),
        };
        Ok(Some(Packed {
            bytes_before: switched.mark_before.end,
            bytes_after: switched.mark_after.end,
            objects_before: switched.mark_before.objects,
            objects_after: switched.mark_after.objects,
            records_dropped,
            blobs_removed,
            stopped: switched.stopped,
            unfinished,
        }))
    }

    fn check_space(&self, log_bytes: u64) -> Result<(), PackError> {
        let index_bytes = fs::metadata(index_path(&self.path)).map_or(0, |index| index.len());
        let needed_bytes = log_bytes.saturating_add(index_bytes);
        let free_bytes = world::free_bytes_in(self.directory())?;
        if free_bytes < needed_bytes {
            return Err(PackError::NoSpace { needed_bytes, free_bytes });
        }
        Ok(())
    }

    /// Removes the blobs that a pack dropped and that are still there. Returns how many these were.
    pub(crate) fn remove_listed_blobs(&self) -> Result<u64, PackError> {
        let Some(blobs) = &self.blobs else { return Ok(0) };
        let now = self.now_held();
        let is_there = |oid, tid| Ok::<_, PackError>(now.has_record(oid, tid)?);
        crate::blobs::work_off(&leftovers::blob_list_path(&self.path), blobs, is_there)
    }
}

impl Ctx<'_> {
    /// Writes the packed log up to what was committed when this began, and its index, durably. `None`: there is
    /// nothing to gain.
    fn copy(
        &self,
        generation: &Arc<Generation>,
        until: Tid,
        pinned: &[(Oid, Tid)],
        output: Output,
        index: Index,
    ) -> Result<Option<Copy>, PackError> {
        let mut pointed = Vec::new();
        for (oid, tid) in pinned {
            pointed.extend(generation.find_record(*oid, *tid)?.map(|(position, _)| position));
        }
        self.tell(PackStage::Reading, 0, generation.mark().end)?;
        let survey = survey::survey(self, generation, until, pointed)?;
        if survey.redundant {
            self.progress.note("the storage was packed to this or a later time before");
            return Ok(None);
        }
        let kept = if self.options.gc {
            self.tell(PackStage::References, 0, survey.end)?;
            reach::reachable(self, generation, &survey, &mut ReferenceScanner::new())?
        } else {
            Bits::all(survey.objects.len())
        };
        let (pack_end, surveyed) = (survey.pack_end, survey.end);
        tracing::debug!(objects = survey.objects.len(), records = survey.records, "surveyed");
        let path = &self.inner.path;
        let list = match &self.inner.blobs {
            Some(_) => Some(RemovalList::create(&leftovers::staged(&leftovers::blob_list_path(path)))?),
            None => None,
        };
        self.tell(PackStage::Copying, 0, surveyed)?;
        let mut copy = Copy::packed(self, generation, survey, kept, output, list, index)?;
        if copy.output.position() == pack_end {
            self.progress.note("there is nothing that a pack would drop");
            return Ok(None);
        }
        self.tell(PackStage::Indexing, 0, surveyed)?;
        copy.index_new(false)?;
        copy.whole(self, generation, surveyed, PackStage::Copying)?;
        copy.output.sync()?;
        // What takes long is durable before commits may have to wait.
        copy.index_new(true)?;
        Ok(Some(copy))
    }

    /// Copies what is committed meanwhile, until little of it is left.
    fn catch_up(&self, generation: &Arc<Generation>, copy: &mut Copy) -> Result<(), PackError> {
        if self.options.gc {
            // What was surveyed cannot bring back what is dropped; what comes now could.
            copy.check_references();
        }
        self.tell(PackStage::CatchingUp, copy.done, generation.mark().end)?;
        let mut pace = Pace::default();
        loop {
            let end = generation.mark().end;
            match pace.step(end - copy.done) {
                Step::Rest => {
                    let until = copy.anchor.tid;
                    return copy.check_pins(generation, &self.inner.pins.now(until));
                }
                Step::Round => {
                    copy.whole(self, generation, end, PackStage::CatchingUp)?;
                    copy.output.sync()?;
                    copy.index_many()?;
                }
                Step::Slice(bytes) => {
                    self.inner.while_nobody_commits(|| -> Result<_, PackError> {
                        copy.slice(generation, generation.mark().end, bytes)?;
                        copy.output.sync()?;
                        copy.index_many()
                    })?;
                    self.inner.give_way();
                    if self.inner.is_closed() {
                        return Err(PackError::Stopped);
                    }
                }
            }
        }
    }
}

impl Generation {
    fn has_record(&self, oid: Oid, tid: Tid) -> Result<bool, ReadError> {
        match self.positions.object(oid, ReadMode::MayBlock)? {
            Some(_) => Ok(self.find_record(oid, tid)?.is_some()),
            None => Ok(false),
        }
    }
}

/// Lets go of what was pinned for a pack.
struct EndPack<'a>(&'a Inner);

impl Drop for EndPack<'_> {
    fn drop(&mut self) {
        self.0.pins.end_pack();
    }
}

/// Removes what a pack made, unless it took effect.
struct ClearUp<'a> {
    path: &'a Path,
}

impl Drop for ClearUp<'_> {
    fn drop(&mut self) {
        if let Err(error) = leftovers::remove(self.path) {
            tracing::warn!(%error, "what an unfinished pack left could not be removed; the next opening will");
        }
    }
}
