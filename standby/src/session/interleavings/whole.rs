//! What concerns the storage as a whole: packs, restarts, and the end of a case.

use replica::NoProgress;
use zeo_proto::Tid;

use super::client::Client;
use super::history::History;
use super::packed;
use super::setup::{self, Site};
use super::steps::CLIENTS;
use super::world::{WATCHER, World};

impl World {
    /// A pack was done: only what may be dropped is gone. Returns whether it must have failed.
    pub(super) fn packed(&mut self, until: Tid) -> bool {
        let pinned = self.clients.iter().flat_map(Client::pinned).collect();
        let packed = packed::pack(&self.model.history, until, self.setup.gc, &pinned);
        let before = setup::expected(&self.model.history);
        let after = setup::observed(self.site().service().storage());
        if packed.redundant || packed.dangles {
            assert_eq!(after, before, "a pack that does nothing");
            self.count("packs refused or redundant");
            return !packed.redundant;
        }
        if packed.history.places() == self.model.history.places() && after == before {
            return false; // nothing to gain
        }
        assert_eq!(after, setup::expected(&packed.history), "what a pack up to {until} leaves");
        let before = std::mem::replace(&mut self.model.history, packed.history);
        self.count("packs");
        self.check_blobs(&before);
        self.model.before_packs.push(before);
        false
    }

    /// There is a blob for each record of one, and none for those that were dropped.
    fn check_blobs(&self, before: &History) {
        for (tid, oid) in before.places() {
            let kept = self.model.history.record(oid, tid);
            let blob = kept.and_then(|record| record.state.as_ref()).and_then(|state| state.blob);
            assert_eq!(self.site().has_blob(oid, tid), blob.is_some(), "a blob of object {oid} at {tid}");
        }
    }

    /// Stops and starts again. No connection outlives that, and every transaction does.
    pub(super) fn restart(&mut self, crash: bool) {
        for at in 0..self.clients.len() {
            self.disconnect(at);
        }
        while self.orphan() {}
        self.count("restarts");
        // What was committed is there, whoever knew of it.
        let unpublished =
            self.unpublished.drain(..).map(|(tid, given)| (tid, given.records.into_keys().collect()));
        self.model.published.extend(unpublished);
        let site = self.site.take().expect("the storage is open");
        let folder = if crash { site.crash() } else { site.close() };
        self.site = Some(Site::open(folder, &self.setup));
        assert_eq!(self.site().temporary_files(), Vec::<std::path::PathBuf>::new(), "after a restart");
        self.site().check_log(&self.model.history);
        self.connect(WATCHER);
        (0..CLIENTS).for_each(|at| self.connect(at));
    }

    /// Every transaction comes to an end, every call is answered, and nothing is left behind.
    pub(super) fn end(&mut self) {
        for round in 0.. {
            self.acknowledge_all();
            self.run_everyone();
            let open = (0..CLIENTS).filter(|at| self.clients[*at].transaction.is_some());
            let open: Vec<_> = open.collect();
            if open.is_empty() {
                break;
            }
            assert!(round < 100, "transactions that never end: {open:?}");
            let Some(at) = open.into_iter().find(|at| !self.clients[*at].is_voting()) else {
                panic!("every vote waits for another");
            };
            match round % 2 {
                0 => self.go(at),
                _ => self.abort(at, false),
            }
        }
        for at in 0..self.clients.len() {
            self.run_all(at);
            let client = &self.clients[at];
            assert!(
                client.line.is_none() || client.seen == self.model.published.len(),
                "client {at} knows all"
            );
            self.disconnect(at);
        }
        while self.orphan() {}
        assert_eq!(self.site().service().lock_status(), (0, None), "locks are left");
        assert_eq!(self.site().temporary_files(), Vec::<std::path::PathBuf>::new(), "of nobody");
        self.site().check_log(&self.model.history);
        self.check_blobs(&self.model.history);
        let folder = self.site.take().expect("the storage is open").close();
        let report = replica::verify(&folder.path().join("Data.fs"), &NoProgress).expect("readable");
        assert_eq!(report.problems, []);
    }
}
