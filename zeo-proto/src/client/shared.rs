use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::event::EVENTS_MAX;
use super::session::Session;
use super::{Cache, Event, Invalidations, Options, View};
use crate::{Oid, Tid};

/// What the handles of a client and the task that keeps its connection have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    cache: Mutex<Cache>,
    view: Mutex<Option<Arc<View>>>,
    /// The connection that is there, if one is.
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    pub(super) events: broadcast::Sender<Event>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        Self {
            cache: Mutex::new(Cache::new(options.cache_bytes)),
            options,
            view: Mutex::default(),
            session: watch::Sender::new(None),
            events: broadcast::Sender::new(EVENTS_MAX),
        }
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view(&self) -> Option<Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_view(&self, view: &View) {
        let mut known = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(view) {
            let view = Arc::new(view.clone());
            *known = Some(Arc::clone(&view));
            self.tell(Event::View(view));
        }
    }

    /// Nobody may be listening.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Others have committed.
    pub(super) fn invalidated(&self, told: Invalidations) {
        let mut cache = self.cache();
        told.oids.iter().for_each(|oid| cache.invalidate(*oid, told.tid));
        let tid = told.tid;
        // Told under the cache's lock: who asks for events and then for the last transaction misses none up to that.
        if self.events.receiver_count() > 0 {
            self.tell(Event::Invalidated(Arc::new(told)));
        }
        // Whoever sees it has been told of it.
        cache.advance(tid);
    }

    /// This client has committed these objects, whose records are given where they are known.
    pub(super) fn committed(&self, tid: Tid, objects: BTreeMap<Oid, Option<Bytes>>) {
        let mut cache = self.cache();
        for (oid, data) in objects {
            cache.invalidate(oid, tid);
            if let Some(data) = data {
                cache.store(oid, super::Revision { data, serial: tid, end: None });
            }
        }
        cache.advance(tid);
    }
}
