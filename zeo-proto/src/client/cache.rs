//! What a client keeps of what it has read: revisions of objects, and until which transaction each was current.
//!
//! There is no clock and no socket here. Its owner tells it, in the order of the connection, what was loaded and what
//! was invalidated; then whatever the cache answers is what the server would have answered as of [`Cache::last_tid`].

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::{Oid, Tid};

/// A revision of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its record.
    pub data: Bytes,
    /// The transaction that wrote it.
    pub serial: Tid,
    /// The transaction that wrote the next one, if that is known: until then this was the current one.
    pub end: Option<Tid>,
}

/// A cache of so many bytes. The revisions go first that were not used for longest.
///
/// The rules are those of the stock client's cache (`ZEO/cache.py`), with two additions: it counts how often its
/// history was dropped, and it never goes back to an older transaction without that.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    bytes: usize,
    last_tid: Tid,
    history: u64,
    objects: HashMap<Oid, Object>,
    uses: BTreeMap<u64, Key>,
    last_use: u64,
}

#[derive(Debug, Default)]
struct Object {
    current: Option<Kept>,
    /// By their serials.
    older: BTreeMap<Tid, Kept>,
}

#[derive(Debug)]
struct Kept {
    revision: Revision,
    used: u64,
}

type Key = (Oid, Tid);

/// What a revision takes besides its data, in bytes; roughly.
const OVERHEAD_BYTES: usize = 192;

impl Kept {
    fn bytes(&self) -> usize {
        self.revision.data.len() + OVERHEAD_BYTES
    }
}

impl Cache {
    /// An empty cache. With 0 bytes it keeps nothing, and only knows the last transaction.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            last_tid: Tid::ZERO,
            history: 0,
            objects: HashMap::new(),
            uses: BTreeMap::new(),
            last_use: 0,
        }
    }

    /// The last transaction that the client has heard of; [`Tid::ZERO`] for none.
    pub fn last_tid(&self) -> Tid {
        self.last_tid
    }

    /// How often everything was dropped because the server could not tell what had changed: what was read before and
    /// after may belong to different histories.
    pub fn history(&self) -> u64 {
        self.history
    }

    /// How much it holds, in bytes: data, and an estimate of what goes with them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many revisions it holds.
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// The revision that was current just before a transaction, if it is kept. [`Tid::MAX`] asks for the one that is
    /// current as of [`Cache::last_tid`].
    pub fn load_before(&mut self, oid: Oid, before: Tid) -> Option<Revision> {
        let object = self.objects.get_mut(&oid)?;
        let older = object.older.range_mut(..before).next_back().map(|(_, kept)| kept);
        let found = match older.filter(|kept| kept.revision.end.is_some_and(|end| end >= before)) {
            Some(kept) => kept,
            None => object.current.as_mut().filter(|kept| kept.revision.serial < before)?,
        };
        self.last_use += 1;
        self.uses.remove(&found.used);
        found.used = self.last_use;
        self.uses.insert(found.used, (oid, found.revision.serial));
        Some(found.revision.clone())
    }

    /// Keeps what was loaded. Must be told in the order in which replies and invalidations came.
    pub fn store(&mut self, oid: Oid, revision: Revision) {
        if revision.data.len() + OVERHEAD_BYTES > self.max_bytes {
            return;
        }
        let serial = revision.serial;
        let object = self.objects.entry(oid).or_default();
        if revision.end.is_none() {
            match &object.current {
                Some(current) if current.revision.serial >= serial => return,
                // A newer one without an invalidation: until when the other was current is not known.
                Some(_) => self.forget(oid),
                None => {}
            }
        } else if object.older.contains_key(&serial) {
            return;
        }
        self.last_use += 1;
        let kept = Kept { revision, used: self.last_use };
        self.bytes += kept.bytes();
        self.uses.insert(kept.used, (oid, serial));
        let object = self.objects.entry(oid).or_default();
        match kept.revision.end {
            None => object.current = Some(kept),
            Some(_) => drop(object.older.insert(serial, kept)),
        }
        while self.bytes > self.max_bytes {
            self.drop_least_used();
        }
    }

    /// A transaction has changed an object: what was current is so until then.
    pub fn invalidate(&mut self, oid: Oid, tid: Tid) {
        let Some(object) = self.objects.get_mut(&oid) else { return };
        let Some(mut current) = object.current.take_if(|current| current.revision.serial != tid) else {
            return;
        };
        current.revision.end = Some(tid);
        let serial = current.revision.serial;
        if let Some(same) = object.older.insert(serial, current) {
            self.uses.remove(&same.used);
            self.bytes -= same.bytes();
        }
    }

    /// An object was changed by a transaction that is not known: what was current is forgotten.
    pub fn forget(&mut self, oid: Oid) {
        let Some(object) = self.objects.get_mut(&oid) else { return };
        if let Some(current) = object.current.take() {
            self.uses.remove(&current.used);
            self.bytes -= current.bytes();
        }
        if object.older.is_empty() {
            self.objects.remove(&oid);
        }
    }

    /// Everything up to this transaction was told. Never goes back.
    pub fn advance(&mut self, tid: Tid) {
        self.last_tid = self.last_tid.max(tid);
    }

    /// Drops everything, the last transaction too: this history cannot be relied on.
    pub fn drop_history(&mut self) {
        self.objects.clear();
        self.uses.clear();
        self.bytes = 0;
        self.last_tid = Tid::ZERO;
        self.history += 1;
    }

    fn drop_least_used(&mut self) {
        let Some((_, (oid, serial))) = self.uses.pop_first() else { return };
        let Some(object) = self.objects.get_mut(&oid) else { return };
        let current = object.current.take_if(|current| current.revision.serial == serial);
        let Some(dropped) = current.or_else(|| object.older.remove(&serial)) else { return };
        self.bytes -= dropped.bytes();
        if object.current.is_none() && object.older.is_empty() {
            self.objects.remove(&oid);
        }
    }
}
