//! What must hold at every moment, and what at the end.

use zeo_proto::Tid;

use super::super::entry::{Cause, NodeId};
use super::super::settings::Setting;
use super::world::World;

impl World {
    /// When a node was promoted.
    pub(super) fn check_promotion(&self, node: NodeId, cause: Cause) {
        let limit = self.decided.settings().time(Setting::MaxLagOnFailover);
        let site = self.sites.iter().find(|site| site.id == node);
        let lacked = site.and_then(|site| site.memory.as_ref()).map(|memory| &memory.lacked);
        if let (Cause::Failover, Some(limit), Some(lacked)) = (cause, limit, lacked) {
            // It may have been started anew since it answered.
            let may = lacked.is_empty() || lacked.iter().any(|lacked| *lacked <= limit);
            assert!(
                may,
                "{node} is promoted by itself, and is known to lack {lacked:?}, more than {limit:?}"
            );
        }
    }

    /// At every moment.
    pub(super) fn check_now(&self) {
        let holders: Vec<&str> = self
            .sites
            .iter()
            .filter(|site| site.may_commit(self.now))
            .map(|site| site.name.as_str())
            .collect();
        assert!(holders.len() <= 1, "two nodes hold leases: {holders:?}");
        for site in self.sites.iter().filter(|site| site.may_commit(self.now)) {
            assert!(site.name.starts_with("here"), "{} was promoted by itself", site.name);
        }
    }

    /// When everything works again, and nobody has written for a while.
    pub(super) fn check_end(&mut self) {
        let primary = self.sites.iter().find(|site| site.may_commit(self.now));
        let primary = primary.unwrap_or_else(|| panic!("nobody is the primary: {}", self.state()));
        let log = &primary.disk.log;
        for pair in log.windows(2) {
            assert!(pair[0].tid < pair[1].tid, "tids grow");
        }
        for site in self.sites.iter().filter(|site| site.has_copy) {
            assert_eq!(site.disk.log, *log, "{} has what the primary has", site.name);
        }
        assert!(self.decided.suspended().is_empty(), "bans end by themselves: {:?}", self.decided);
        for (tid, (records, acks)) in &self.promised {
            let kept = log.binary_search_by_key(tid, |transaction| transaction.tid);
            let is_kept = kept.is_ok_and(|at| log[at].records == *records);
            if is_kept {
                continue;
            }
            assert!(!self.only_switchovers, "{tid} was lost in a switchover");
            assert!(
                *acks == 0 || self.acks == 0 || self.disk_lost,
                "{tid} was acknowledged by {acks} replicas, and is gone"
            );
            let is_saved =
                |tid: Tid| self.sites.iter().any(|site| site.disk.saved.iter().any(|saved| saved.tid == tid));
            assert!(self.disk_lost || is_saved(*tid), "{tid} was promised, and is gone without a trace");
        }
        let (broken, sites) = (self.broken, &self.sites);
        for reader in &mut self.readers {
            for (node, site) in sites.iter().enumerate().filter(|(_, site)| site.has_copy) {
                reader.connect(node, site, broken);
            }
            assert!(reader.is_connected(), "a client is shut out");
        }
    }
}
