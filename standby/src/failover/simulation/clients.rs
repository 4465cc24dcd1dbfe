//! Clients that read and keep what they have read, as stock ones do.

use std::collections::BTreeMap;

use zeo_proto::Tid;

use super::Broken;
use super::site::Site;

/// What a client believes.
#[derive(Default)]
pub(super) struct Reader {
    /// Node, its start, and how much of its log was told.
    connected: Option<(usize, u64, usize)>,
    cache: BTreeMap<u64, u64>,
    last: Tid,
}

impl Reader {
    pub(super) fn disconnect(&mut self, from: usize) {
        if self.connected.is_some_and(|(node, ..)| node == from) {
            self.connected = None;
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Connects to a node, unless that is behind.
    pub(super) fn connect(&mut self, node: usize, site: &Site, broken: Broken) {
        if self.connected.is_some() {
            return;
        }
        let published = site.published();
        let last = site.disk.log[..published].last().map_or(Tid::ZERO, |transaction| transaction.tid);
        if last < self.last {
            return; // "Client has seen newer transactions than server"
        }
        match site.disk.invalidations(self.last, published, broken) {
            None => self.cache.clear(),
            Some(changed) => changed.iter().for_each(|oid| {
                self.cache.remove(oid);
            }),
        }
        self.last = last;
        self.connected = Some((node, site.starts, published));
    }

    /// Hears what was committed, reads an object, and looks at everything that it knows.
    pub(super) fn read(&mut self, sites: &[Site], oid: u64) {
        let Some((node, starts, told)) = self.connected else { return };
        let site = &sites[node];
        if !site.up || site.starts != starts {
            self.connected = None;
            return;
        }
        let published = site.published();
        for transaction in &site.disk.log[told..published] {
            transaction.records.keys().for_each(|oid| {
                self.cache.remove(oid);
            });
            self.last = transaction.tid;
        }
        self.connected = Some((node, starts, published));
        if let Some(value) = site.disk.value(oid, published) {
            let cached = *self.cache.entry(oid).or_insert(value);
            assert_eq!(cached, value, "a client reads a value of oid {oid} that {} does not have", site.name);
        }
        for (oid, cached) in &self.cache {
            let value = site.disk.value(*oid, published);
            assert_eq!(
                value,
                Some(*cached),
                "a client keeps a value of oid {oid} that {} does not have",
                site.name
            );
        }
    }
}
