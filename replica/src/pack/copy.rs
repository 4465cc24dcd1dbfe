use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::objects::{Bits, Objects};
use super::output::Output;
use super::run::Ctx;
use super::survey::Survey;
use super::walk::{Walk, Walked};
use super::{PackError, PackStage};
use crate::anchor::Anchor;
use crate::blobs::RemovalList;
use crate::checksum::Chain;
use crate::format::{LOG_START, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead};
use crate::index::{Index, Mark, TransactionEntry};
use crate::inner::Generation;
use crate::recent::{Found, Mix, Recent};
use crate::references::ReferenceScanner;
use crate::{Checksum, Oid, ReadError, ReadMode, Tid};

/// What the class of a blob's record has in its name, near the beginning of the record.
const BLOB_CLASS: &[u8] = b"ZODB.blob";
const BLOB_CLASS_WITHIN: u64 = 256;
/// So many entries go into the index at once.
const ENTRIES_AT_ONCE: usize = 1 << 20;
/// So many entries at most are left for the moment when commits are stopped.
const ENTRIES_LEFT: usize = 1 << 14;

/// The packed log in the making.
pub(super) struct Copy {
    pub(super) output: Output,
    pub(super) objects: Objects,
    pub(super) kept: Bits,
    /// Older records that are kept because others point to them: where they were, where they are.
    pointed: Vec<(u64, u64)>,
    /// Objects of which only such records are kept.
    pub(super) strays: HashMap<u64, u64, BuildHasherDefault<Mix>>,
    pub(super) pack_end: u64,
    /// Where the transactions after the pack time begin here.
    whole_from: u64,
    /// How far the old log was copied.
    pub(super) done: u64,
    /// What readers will see.
    pub(super) mark: Mark,
    pub(super) anchor: Anchor,
    /// Looks whether what was dropped is referred to again; `None`: it need not be looked for.
    pub(super) check: Option<ReferenceScanner>,
    pub(super) checked_pins: HashSet<(Oid, Tid)>,
    pub(super) index: Index,
    /// What the index does not have yet.
    pub(super) new_objects: Vec<(u64, u64)>,
    pub(super) new_transactions: Vec<TransactionEntry>,
    pub(super) records_dropped: u64,
    pub(super) blobs: Option<RemovalList>,
}

impl Copy {
    /// Copies what is kept of the transactions up to the pack time.
    pub(super) fn packed(
        ctx: &Ctx<'_>,
        generation: &Generation,
        survey: Survey,
        kept: Bits,
        mut output: Output,
        blobs: Option<RemovalList>,
        index: Index,
    ) -> Result<Self, PackError> {
        let start = generation.mark();
        let mut magic = [0; LOG_START as usize];
        generation.log.read_fully(&mut magic, 0)?;
        output.write(&magic)?;
        let anchor = Anchor {
            tid: survey.pack_tid,
            checksum: survey.checksum,
            end: LOG_START,
            packed: Checksum::ZERO,
            max_oid: start.max_oid,
        };
        let mut copy = Self {
            output,
            objects: survey.objects,
            kept,
            pointed: survey.pointed.iter().map(|position| (*position, 0)).collect(),
            strays: HashMap::default(),
            pack_end: survey.pack_end,
            whole_from: LOG_START,
            done: LOG_START,
            mark: Mark { objects: 0, max_oid: start.max_oid, ..Mark::START },
            anchor,
            check: None,
            checked_pins: HashSet::new(),
            index,
            new_objects: Vec::new(),
            new_transactions: Vec::new(),
            records_dropped: 0,
            blobs,
        };
        let mut walk = Walk::new(Arc::clone(&generation.log), LOG_START, survey.pack_end);
        let mut told = 0;
        while let Some(mut transaction) = walk.transaction()? {
            // The last one of the log stays, even with nothing in it, so that the storage's last tid does not go back.
            let is_last = transaction.head.tid == start.last_tid;
            copy.pack_transaction(&mut walk, &mut transaction, is_last)?;
            if copy.new_transactions.len() >= ENTRIES_AT_ONCE {
                copy.index.apply(&[], &copy.new_transactions, &Mark::START, false)?;
                copy.new_transactions.clear();
            }
            if walk.position() - told >= super::run::PROGRESS_BYTES {
                told = walk.position();
                ctx.tell(PackStage::Copying, told, start.end)?;
            }
        }
        copy.done = survey.pack_end;
        copy.whole_from = copy.output.position();
        let left = copy.pointed.iter().find(|(_, to)| *to == 0);
        if let Some((from, _)) = left {
            return Err(ReadError::corrupt(*from, "a back pointer leads to where no record is").into());
        }
        // From here on the running checksum is again what it was.
        copy.anchor.end = copy.whole_from;
        copy.anchor.packed = copy.mark.checksum;
        copy.mark.checksum = survey.checksum;
        if copy.mark.last_tid > Tid::ZERO {
            copy.new_transactions.pop();
            let Mark { last_tid: tid, last_position: position, checksum, .. } = copy.mark;
            copy.new_transactions.push(TransactionEntry { tid, position, checksum });
        }
        for at in (0..copy.objects.len()).filter(|at| copy.kept.get(*at)) {
            copy.new_objects.push((copy.objects.oid(at).get(), copy.objects.position(at)));
        }
        copy.new_objects.extend(copy.strays.iter().map(|(oid, position)| (*oid, *position)));
        crate::drainer::keep_latest(&mut copy.new_objects);
        Ok(copy)
    }

    fn pack_transaction(
        &mut self,
        walk: &mut Walk,
        transaction: &mut Walked,
        is_last: bool,
    ) -> Result<(), PackError> {
        let tid = transaction.head.tid;
        let mut begun: Option<Packing> = None;
        if is_last {
            begun = Some(self.begin(transaction)?);
        }
        let mut dropped_blobs: Vec<Oid> = Vec::new();
        let mut kept: Vec<Oid> = Vec::new();
        let counted = transaction.head.status != b'u';
        while counted && let Some((position, head)) = walk.record(transaction)? {
            let oid = head.oid;
            let current = self.objects.find(oid).filter(|at| self.objects.position(*at) == position);
            let current = current.filter(|at| self.kept.get(*at));
            let pointed = self.pointed.binary_search_by_key(&position, |(from, _)| *from).ok();
            if current.is_none() && pointed.is_none() {
                self.records_dropped += 1;
                if self.blobs.is_some() && is_blob(walk, position, &head)? {
                    dropped_blobs.push(oid);
                }
                continue;
            }
            if begun.is_none() {
                begun = Some(self.begin(transaction)?);
            }
            let to = self.output.position();
            self.pack_record(walk, position, &head, begun.as_mut().expect("it was begun"))?;
            if self.blobs.is_some() {
                kept.push(oid);
            }
            match current {
                Some(at) => self.objects.set_position(at, to),
                None if self.objects.find(oid).is_none_or(|at| !self.kept.get(at)) => {
                    self.strays.insert(oid.get(), to);
                }
                None => {}
            }
            if let Some(at) = pointed {
                self.pointed[at].1 = to;
            }
        }
        if let Some(begun) = begun {
            self.end(begun, tid)?;
        }
        if let Some(list) = &mut self.blobs {
            // An object can have two records in one transaction, and has one blob.
            kept.sort_unstable();
            for oid in dropped_blobs.into_iter().filter(|oid| kept.binary_search(oid).is_err()) {
                list.add(oid, tid)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, transaction: &Walked) -> Result<Packing, PackError> {
        let position = self.output.position();
        let mut head = transaction.head;
        head.status = b'p';
        let (user, rest) = transaction.metadata.split_at(usize::from(head.user_length));
        let (description, extension) = rest.split_at(usize::from(head.description_length));
        let chain = Chain::new(self.mark.checksum, head.tid, user, description, extension);
        self.output.write(&head.encode())?;
        self.output.write(&transaction.metadata)?;
        Ok(Packing { position, chain })
    }

    /// A record with its data, and without a history.
    fn pack_record(
        &mut self,
        walk: &mut Walk,
        position: u64,
        head: &RecordHead,
        to: &mut Packing,
    ) -> Result<(), PackError> {
        let mut packed = RecordHead { previous: 0, transaction: to.position, ..*head };
        if head.data_length != 0 {
            self.output.write(&packed.encode())?;
            to.chain.data_follow(head.oid, head.data_length);
            let (output, chain) = (&mut self.output, &mut to.chain);
            return walk.each_piece(position + RECORD_HEADER as u64, head.data_length, |piece| {
                chain.data(piece);
                Ok(output.write(piece)?)
            });
        }
        let mut data = Vec::new();
        if walk.resolve(head.oid, position, &mut data)? {
            packed.data_length = data.len() as u64;
            to.chain.data_follow(head.oid, packed.data_length);
            to.chain.data(&data);
        } else {
            data = 0u64.to_be_bytes().to_vec();
            to.chain.nothing(head.oid);
        }
        self.output.write(&packed.encode())?;
        Ok(self.output.write(&data)?)
    }

    fn end(&mut self, packing: Packing, tid: Tid) -> Result<(), PackError> {
        let length = self.output.position() - packing.position;
        self.output.patch(packing.position + 8, &length.to_be_bytes())?;
        self.output.write(&length.to_be_bytes())?;
        self.take_in(tid, packing.position, packing.chain.finish());
        Ok(())
    }

    fn take_in(&mut self, tid: Tid, position: u64, checksum: Checksum) {
        self.new_transactions.push(TransactionEntry { tid, position, checksum });
        self.mark.last_tid = tid;
        self.mark.last_position = position;
        self.mark.end = self.output.position();
        self.mark.checksum = checksum;
    }

    /// Copies the transactions up to `end` whole, at this stage of the pack.
    pub(super) fn whole(
        &mut self,
        ctx: &Ctx<'_>,
        generation: &Generation,
        end: u64,
        stage: PackStage,
    ) -> Result<(), PackError> {
        while self.done < end {
            self.slice(generation, end, super::run::PROGRESS_BYTES)?;
            if self.new_objects.len() + self.new_transactions.len() >= ENTRIES_AT_ONCE {
                self.index_new(false)?;
            }
            ctx.tell(stage, self.done, end)?;
        }
        Ok(())
    }

    /// Copies whole transactions of `bytes` together, or a little more, not beyond `end`, where one ends.
    pub(super) fn slice(&mut self, generation: &Generation, end: u64, bytes: u64) -> Result<(), PackError> {
        let until = self.done.saturating_add(bytes);
        let mut walk = Walk::new(Arc::clone(&generation.log), self.done, end);
        while self.done < until
            && let Some(mut transaction) = walk.transaction()?
        {
            self.whole_transaction(generation, &mut walk, &mut transaction)?;
            self.done = walk.position();
        }
        Ok(())
    }

    fn whole_transaction(
        &mut self,
        generation: &Generation,
        walk: &mut Walk,
        transaction: &mut Walked,
    ) -> Result<(), PackError> {
        let head = transaction.head;
        let position = self.output.position();
        assert_eq!(position, self.moved(transaction.position), "what is copied whole keeps its length");
        let (user, rest) = transaction.metadata.split_at(usize::from(head.user_length));
        let (description, extension) = rest.split_at(usize::from(head.description_length));
        let mut chain = Chain::new(self.mark.checksum, head.tid, user, description, extension);
        self.output.write(&head.encode())?;
        self.output.write(&transaction.metadata)?;
        if head.status == b'u' {
            // Nobody reads its records; their pointers lead nowhere any more.
            let from = transaction.position + head.header_length();
            let output = &mut self.output;
            walk.each_piece(from, transaction.records_end - from, |piece| {
                Ok::<_, PackError>(output.write(piece)?)
            })?;
        }
        while head.status != b'u'
            && let Some((at, record)) = walk.record(transaction)?
        {
            let oid = record.oid;
            let to = self.output.position();
            let previous = self.previous(oid, record.previous);
            let copied = RecordHead { previous, transaction: position, ..record };
            self.output.write(&copied.encode())?;
            if record.data_length == 0 {
                let back = walk.back(at)?;
                let mut data = Vec::new();
                let found = generation.log.data_at(oid, back, ReadMode::MayBlock, &mut data)?;
                chain.pointer(oid, found.then_some(&data));
                self.output.write(&self.back_pointer(at, back)?.to_be_bytes())?;
            } else {
                chain.data_follow(oid, record.data_length);
                let output = &mut self.output;
                walk.each_piece(at + RECORD_HEADER as u64, record.data_length, |piece| {
                    chain.data(piece);
                    Ok::<_, PackError>(output.write(piece)?)
                })?;
                if self.check.is_some() {
                    self.check_record(generation, oid, at, head.tid, walk.data(at, &record)?)?;
                }
            }
            self.mark.max_oid = self.mark.max_oid.max(oid);
            self.new_objects.push((oid.get(), to));
        }
        self.output.write(&head.length.to_be_bytes())?;
        assert_eq!(
            self.output.position(),
            position + head.length + REDUNDANT_LENGTH,
            "what is copied whole keeps its length"
        );
        self.take_in(head.tid, position, chain.finish());
        Ok(())
    }

    /// Hands the index what it does not have yet, if that is much.
    pub(super) fn index_many(&mut self) -> Result<(), PackError> {
        let many = self.new_objects.len() + self.new_transactions.len() > ENTRIES_LEFT;
        if many { self.index_new(false) } else { Ok(()) }
    }

    /// Hands the index what it does not have yet.
    pub(super) fn index_new(&mut self, durable: bool) -> Result<(), PackError> {
        crate::drainer::keep_latest(&mut self.new_objects);
        self.index.apply(&self.new_objects, &self.new_transactions, &self.mark, durable)?;
        self.new_objects = Vec::new();
        self.new_transactions.clear();
        Ok(())
    }

    /// Hands over what is in memory of the old log's positions as positions of the copy, so that readers need not look
    /// for them again. What was committed since the copying ended must be handed over after it.
    pub(super) fn warm(&self, from: &Recent, to: &Recent) {
        from.each(|oid, position| {
            let position = match position.checked_sub(self.pack_end) {
                Some(_) => self.moved(position),
                None => match self.objects.find(oid).filter(|at| self.kept.get(*at)) {
                    Some(at) => self.objects.position(at),
                    None => return,
                },
            };
            if let Found::Unknown(version) = to.find(oid) {
                to.remember(oid, position, version);
            }
        });
    }

    /// Where something after the pack time is now.
    fn moved(&self, position: u64) -> u64 {
        position - self.pack_end + self.whole_from
    }

    fn previous(&self, oid: Oid, previous: u64) -> u64 {
        if previous == 0 {
            return 0;
        }
        if previous >= self.pack_end {
            return self.moved(previous);
        }
        match self.objects.find(oid) {
            Some(at) if self.kept.get(at) => self.objects.position(at),
            _ => self.strays.get(&oid.get()).copied().unwrap_or(0),
        }
    }

    fn back_pointer(&self, at: u64, back: u64) -> Result<u64, PackError> {
        if back == 0 {
            return Ok(0);
        }
        if back >= self.pack_end {
            return Ok(self.moved(back));
        }
        match self.pointed.binary_search_by_key(&back, |(from, _)| *from) {
            Ok(found) => Ok(self.pointed[found].1),
            Err(_) => Err(ReadError::corrupt(at, "a back pointer to a record that was not kept").into()),
        }
    }
}

/// A packed transaction that is being written.
struct Packing {
    position: u64,
    chain: Chain,
}

fn is_blob(walk: &mut Walk, position: u64, head: &RecordHead) -> Result<bool, ReadError> {
    let has_class = |data: &[u8]| data.windows(BLOB_CLASS.len()).any(|window| window == BLOB_CLASS);
    if head.data_length != 0 {
        return Ok(has_class(walk.data_begin(position, head, BLOB_CLASS_WITHIN)?));
    }
    let mut data = Vec::new();
    Ok(walk.resolve(head.oid, position, &mut data)?
        && has_class(&data[..data.len().min(BLOB_CLASS_WITHIN as usize)]))
}
