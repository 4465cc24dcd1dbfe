//! What a node knows of its cluster, and whom it tells: clients, the log, and other nodes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};
use zeo_proto::Value;

use super::conductor::{Part, standing};
use super::peers::Copies;
use crate::decisions::raft::Decisions;
use crate::failover::choice::Nobody;
use crate::failover::decided::Decided;
use crate::failover::entry::NodeId;
use crate::failover::lease::since_boot;
use crate::membership::clock;
use crate::membership::members::Members;
use crate::membership::outlook;
use crate::membership::record::Record;
use crate::membership::roster::Roster;
use crate::membership::view::told_to_clients;

/// What is known is looked at so often, changed or not.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// However much changes, not more often than this.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// Clients are told so often at most.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// Nodes that belong to the cluster, and addresses where some may be found.
pub(super) type Belonging = (BTreeSet<NodeId>, BTreeSet<String>);

/// What a node knows of its cluster, as that changes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(super) me: NodeId,
    pub(super) decided: watch::Receiver<Arc<Decided>>,
    pub(super) members: watch::Receiver<Arc<Members>>,
    pub(super) own: watch::Receiver<Record>,
    /// Why nobody was promoted, when that was tried last.
    pub(super) why_nobody: watch::Receiver<Option<Nobody>>,
}

impl Surroundings {
    /// Why no other node would take the primary's place by itself, or why nobody does; `None`: one may.
    pub(crate) fn outlook(&self) -> Option<String> {
        let why_nobody = *self.why_nobody.borrow();
        self.with_roster(|roster| outlook::of(&roster, why_nobody))
    }

    /// Shows what is known now.
    pub(crate) fn with_roster<T>(&self, shown: impl FnOnce(Roster<'_>) -> T) -> T {
        let (decided, members) = (self.decided.borrow().clone(), self.members.borrow().clone());
        let own = self.own.borrow().clone();
        shown(Roster { me: self.me, own: &own, decided: &decided, members: &members })
    }
}

/// Keeps everybody informed.
pub(super) struct Herald {
    pub(super) cluster: String,
    pub(super) join: Vec<String>,
    pub(super) copies: Copies,
    pub(super) part: watch::Receiver<Part>,
    pub(super) decisions: Decisions,
    pub(super) surroundings: Surroundings,
    pub(super) own: watch::Sender<Record>,
    pub(super) belong: watch::Sender<Belonging>,
}

/// Where clients reach a node, told to others: its listeners, with the host of its own address where they listen everywhere.
pub(super) fn reachable(listener: Option<SocketAddr>, own: &str) -> String {
    match listener {
        Some(address) if address.ip().is_unspecified() => {
            let host = own.rsplit_once(':').map_or(own, |(host, _)| host);
            format!("{host}:{}", address.port())
        }
        Some(address) => address.to_string(),
        None => String::new(),
    }
}

impl Herald {
    /// Until the task is dropped.
    pub(super) async fn serve(mut self) {
        let mut told = Told::default();
        let (mut decided, mut members) =
            (self.surroundings.decided.clone(), self.surroundings.members.clone());
        loop {
            self.update_own();
            self.update_belonging();
            self.write_log(&mut told);
            self.tell_clients(&mut told);
            tokio::time::sleep(LOOK_AFTER).await;
            tokio::select! {
                _ = decided.changed() => {}
                _ = members.changed() => {}
                _ = self.part.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn clock_ahead_ms(&self) -> Option<i64> {
        self.surroundings.members.borrow().own_clock_ahead_ms(since_boot())
    }

    fn update_own(&self) {
        let clock_off = clock::is_off(self.clock_ahead_ms());
        let standing = standing(&self.copies, clock_off);
        let part = *self.part.borrow();
        let behind = |copy: &crate::replication::copy::Copy| {
            copy.behind(copy.service().publications().last_tid()).as_millis()
        };
        let lag_ms = self.copies.values().map(behind).max().filter(|_| part != Part::Primary);
        self.own.send_if_modified(|own| {
            let record = Record {
                part,
                whole: standing.ready,
                clock_off,
                disk_failed: standing.disk_failed,
                epoch: standing.epoch,
                last_tid: standing.lasts.iter().copied().max().unwrap_or_default(),
                lag_ms: lag_ms.unwrap_or(0).try_into().unwrap_or(u32::MAX),
                ..own.clone()
            };
            let is_news = !record.says_as(own);
            *own = record;
            is_news
        });
    }

    fn update_belonging(&self) {
        let nodes: BTreeSet<NodeId> = self.surroundings.decided.borrow().members().keys().copied().collect();
        let others = nodes.iter().filter(|node| **node != self.surroundings.me);
        let decided = others.filter_map(|node| self.decisions.address_of(*node));
        let seeds: BTreeSet<String> = self.join.iter().cloned().chain(decided).collect();
        self.belong.send_if_modified(|known| {
            let is_news = *known != (nodes.clone(), seeds.clone());
            *known = (nodes, seeds);
            is_news
        });
    }

    fn write_log(&self, told: &mut Told) {
        let outlook = self.surroundings.outlook();
        if outlook != told.outlook {
            match &outlook {
                Some(reason) => warn!("{reason}"),
                None => info!("another node can take the primary's place by itself"),
            }
            told.outlook = outlook;
        }
        let ahead = self.clock_ahead_ms();
        let off = clock::is_off(ahead);
        if off != told.clock_off {
            if off {
                let seconds = ahead.unwrap_or(0) as f64 / 1_000.0;
                warn!(
                    seconds,
                    "this node's clock is ahead of (or behind) those of the others: it is not promoted"
                );
            } else {
                info!("this node's clock agrees with those of the others");
            }
            told.clock_off = off;
        }
    }

    fn tell_clients(&self, told: &mut Told) {
        if told.announced.as_ref().is_some_and(|(at, _)| at.elapsed() < ANNOUNCE_AFTER) {
            return;
        }
        let cluster = self.surroundings.with_roster(|roster| told_to_clients(&self.cluster, &roster));
        if told.announced.as_ref().is_some_and(|(_, told)| *told == cluster) {
            return;
        }
        for copy in self.copies.values() {
            copy.service().announce(cluster.clone());
        }
        told.announced = Some((Instant::now(), cluster));
    }
}

/// What was told last.
#[derive(Default)]
struct Told {
    outlook: Option<String>,
    clock_off: bool,
    announced: Option<(Instant, Value<'static>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_an_address_that_leads_somewhere() {
        let listener = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(reachable(listener("10.0.0.1:8100"), "a.example:8200"), "10.0.0.1:8100");
        assert_eq!(reachable(listener("0.0.0.0:8100"), "a.example:8200"), "a.example:8100");
        assert_eq!(reachable(listener("[::]:8100"), "[2001:db8::1]:8200"), "[2001:db8::1]:8100");
        assert_eq!(reachable(None, "a.example:8200"), "");
    }
}
