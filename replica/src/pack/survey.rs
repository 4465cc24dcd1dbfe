use std::sync::Arc;

use super::objects::Objects;
use super::run::Ctx;
use super::{PackError, PackStage};
use crate::anchor::Anchor;
use crate::format::LOG_START;
use crate::index::Mark;
use crate::inner::Generation;
use crate::scan::{Scanned, Scanner};
use crate::{Checksum, ReadError, Tid};

/// What a pack knows after it has read the log once.
pub(super) struct Survey {
    /// The objects that are there at the pack time, with their current records.
    pub(super) objects: Objects,
    /// Where the first transaction after the pack time begins.
    pub(super) pack_end: u64,
    /// The last transaction up to the pack time.
    pub(super) pack_tid: Tid,
    /// The running checksum after it.
    pub(super) checksum: Checksum,
    /// Older records that later ones, or transactions not yet committed, point back to: sorted, each once.
    pub(super) pointed: Vec<u64>,
    /// How far the log was read.
    pub(super) end: u64,
    /// Records up to the pack time.
    pub(super) records: u64,
    /// Everything up to the pack time and the transaction behind it are packed already.
    pub(super) redundant: bool,
}

/// Reads the log up to what is published now, and checks it: what is damaged must not be copied.
pub(super) fn survey(
    ctx: &Ctx<'_>,
    generation: &Generation,
    until: Tid,
    mut pointed: Vec<u64>,
) -> Result<Survey, PackError> {
    let mark = generation.mark();
    let anchor = generation.anchor.as_ref();
    let mut scanner = Scanner::new(Arc::clone(&generation.log), mark.end);
    let Mark { mut end, mut last_tid, mut checksum, .. } = Mark::start(anchor);
    let mut objects = Objects::default();
    let mut at_pack_time = None;
    let mut records = 0;
    let (mut unpacked, mut next_status, mut last_status) = (false, None, b' ');
    let mut told = 0;
    loop {
        let found = match scanner.step(end, last_tid, checksum).map_err(ReadError::from)? {
            Scanned::End => break,
            Scanned::Transaction(found) => found,
            Scanned::Bad(bad) => return Err(ReadError::corrupt(end, bad.reason).into()),
        };
        if found.head.tid > until && at_pack_time.is_none() {
            at_pack_time = Some((end, last_tid, checksum));
            next_status = Some(found.head.status);
        }
        match at_pack_time {
            None => {
                unpacked |= found.head.status != b'p';
                last_status = found.head.status;
                records += scanner.records().len() as u64;
                for record in scanner.records() {
                    objects.note(record.oid, record.position, record.back == Some(0));
                }
            }
            Some((pack_end, ..)) => {
                let backs = scanner.records().iter().filter_map(|record| record.back);
                pointed.extend(backs.filter(|back| *back >= LOG_START && *back < pack_end));
            }
        }
        end = found.end;
        last_tid = found.head.tid;
        checksum = Anchor::settle(anchor, end, found.checksum);
        if end - told >= super::run::PROGRESS_BYTES {
            told = end;
            ctx.tell(PackStage::Reading, end, mark.end)?;
        }
    }
    if (end, last_tid, checksum) != (mark.end, mark.last_tid, mark.checksum) {
        return Err(ReadError::corrupt(
            end,
            format!("the running checksum is {checksum}, and {} when it was committed", mark.checksum),
        )
        .into());
    }
    objects.finish();
    pointed.sort_unstable();
    pointed.dedup();
    let (pack_end, pack_tid, checksum) = at_pack_time.unwrap_or((end, last_tid, checksum));
    let redundant = !unpacked && next_status.unwrap_or(last_status) == b'p';
    Ok(Survey { objects, pack_end, pack_tid, checksum, pointed, end, records, redundant })
}
