//! What is referred to again while it is being dropped.

use super::PackError;
use super::copy::Copy;
use super::reach::is_dropped;
use crate::inner::Generation;
use crate::references::ReferenceScanner;
use crate::{Oid, ReadMode, Tid};

impl Copy {
    /// From now on nothing that was dropped may be referred to.
    pub(super) fn check_references(&mut self) {
        self.check = Some(ReferenceScanner::new());
    }

    /// Looks whether what transactions under way will store again refers to what is dropped: revisions that were pinned
    /// since the survey. Each is looked at once.
    pub(super) fn check_pins(
        &mut self,
        generation: &Generation,
        pinned: &[(Oid, Tid)],
    ) -> Result<(), PackError> {
        let mut data = Vec::new();
        for &(oid, tid) in pinned {
            if self.check.is_none() || !self.checked_pins.insert((oid, tid)) {
                continue;
            }
            let Some((position, _)) = generation.find_record(oid, tid)? else { continue };
            if generation.log.data_at(oid, position, ReadMode::MayBlock, &mut data)? {
                self.check_record(generation, oid, position, tid, &data)?;
            }
        }
        Ok(())
    }

    /// Nothing that was dropped may be referred to in this record's data.
    pub(super) fn check_record(
        &mut self,
        generation: &Generation,
        oid: Oid,
        position: u64,
        tid: Tid,
        data: &[u8],
    ) -> Result<(), PackError> {
        let Some(scanner) = &mut self.check else { return Ok(()) };
        let mut dropped = Vec::new();
        let found = |reference| {
            if is_dropped(&self.objects, &self.kept, reference) {
                dropped.push(reference);
            }
        };
        scanner.scan(data, found).map_err(|source| PackError::References { oid, position, source })?;
        for reference in dropped {
            if !self.is_kept_elsewhere(generation, reference)? {
                return Err(PackError::Resurrected { oid: reference, tid });
            }
        }
        Ok(())
    }

    fn is_kept_elsewhere(&self, generation: &Generation, oid: Oid) -> Result<bool, PackError> {
        let position = generation.positions.object(oid, ReadMode::MayBlock)?;
        Ok(position.is_some_and(|position| position >= self.pack_end) || self.strays.contains_key(&oid.get()))
    }
}
