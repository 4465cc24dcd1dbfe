//! The I/O around [`Failover`]: carries out what the machine decides for this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};
use zeo_proto::Tid;

use super::handover::{best_successor, drained, objections};
use super::packs::Packs;
use super::peers::Copies;
use super::tuning::{Tuning, acknowledgements, own_settings};
use crate::config::NodeConfig;
use crate::decisions::raft::{Decisions, Ordered, Started};
use crate::decisions::state::News;
use crate::door::{Keeper, Readiness};
use crate::failover::choice::{Nobody, Standing};
use crate::failover::decided::Decided;
use crate::failover::entry::{Ceilings, NodeId};
use crate::failover::lease::{LeaseView, since_boot};
use crate::failover::machine::{Action, Clock, Event, Failover};
use crate::failover::order::{Order, Outcome};
use crate::membership::members::Members;
use crate::service::acks::AckOptions;
use crate::service::gate::Hold;
use crate::service::recess::Recess;
use crate::world::{self, Instant};

/// How long a stopping primary may take to give its lease back.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Whom a node follows.
pub(super) type Target = Option<NodeId>;

/// What a node does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Undecided,
    Replica,
    Primary,
    /// It has no copy, and votes.
    Witness,
}

/// What the conductor moves.
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) copies: Copies,
    pub(super) read_write: Keeper,
    /// Whom to follow.
    pub(super) target: watch::Sender<Target>,
    /// Nobody is followed.
    pub(super) idle: watch::Receiver<bool>,
    pub(super) part: watch::Sender<Part>,
    /// An operator goes on with this node alone: who.
    pub(super) refound: watch::Sender<Option<String>>,
    /// What was decided, but for leases, which change all the time.
    pub(super) decided: watch::Sender<Arc<Decided>>,
    /// Until when this node may commit.
    pub(super) lease: LeaseView,
    /// What the node's file says, as it may be read anew.
    pub(super) config: watch::Receiver<Arc<NodeConfig>>,
    pub(super) tuning: Tuning,
    pub(super) members: watch::Receiver<Arc<Members>>,
    pub(super) why_nobody: watch::Sender<Option<Nobody>>,
    pub(super) packs: Packs,
}

/// How far the copies are, of a node whose clock may be off.
pub(super) fn standing(copies: &Copies, clock_off: bool) -> Standing {
    let lineages: Vec<_> = copies.values().map(|copy| copy.lineage()).collect();
    let lasts: Vec<Tid> = copies.values().map(|copy| copy.service().storage().last_tid()).collect();
    let epochs = lineages.iter().zip(&lasts).map(|(lineage, last)| lineage.epochs.up_to(*last).newest());
    Standing {
        ready: !lineages.is_empty() && lineages.iter().all(|lineage| lineage.is_whole()),
        clock_off,
        disk_failed: has_failed(copies),
        epoch: epochs.min().unwrap_or(0),
        lasts,
        known: copies.values().map(|copy| copy.progress().borrow().upstream.unwrap_or_default()).collect(),
    }
}

/// Nothing more can be committed to one of them, until it is opened anew.
fn has_failed(copies: &Copies) -> bool {
    copies.values().any(|copy| copy.service().storage().failure().is_some())
}

fn clock() -> Clock {
    Clock { now: since_boot(), wall: Tid::from_time(world::now()) }
}

/// Does as the machine says, until the node stops.
pub(super) async fn conduct(started: Started, stage: Stage, mut stopped: watch::Receiver<bool>) {
    let Started { decisions, decided, mut news, mut orders, .. } = started;
    let (events, mut happened) = mpsc::unbounded_channel();
    let start = world::random();
    let own = own_settings(&stage.config.borrow());
    let (machine, actions) = Failover::new(decisions.me(), start, own, decided, clock());
    let (mut config, mut members) = (stage.config.clone(), stage.members.clone());
    config.mark_unchanged();
    let mut conductor = Conductor {
        machine,
        decisions,
        stage: Arc::new(stage),
        events,
        running: JoinSet::new(),
        watching: JoinSet::new(),
        recesses: Arc::default(),
        handing: None,
        acks: None,
        goings: BTreeMap::new(),
    };
    conductor.act(actions);
    let mut failures = JoinSet::new();
    for copy in conductor.stage.copies.values() {
        let (service, events) = (copy.service().clone(), conductor.events.clone());
        failures.spawn(async move {
            service.failed().await;
            let _ = events.send(Event::DiskFailed);
        });
    }
    let tick = conductor.machine.timing().lease / 40;
    let mut ticks = tokio::time::interval(tick.clamp(Duration::from_millis(5), Duration::from_millis(50)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            heard = news.recv() => match heard {
                Some(News::Entry(entry)) => Event::Decided(entry),
                Some(News::State(decided)) => Event::Caught(decided),
                None => {
                    if !*stopped.borrow() {
                        error!("the decided log has ended by itself: this node takes no part any more, until it is restarted");
                    }
                    return;
                }
            },
            Some(event) = happened.recv() => {
                if event == Event::DiskFailed {
                    error!("the disk of this node has failed: it commits nothing more until it is started anew");
                }
                event
            }
            Some(ordered) = orders.recv() => {
                conductor.obey(ordered);
                continue;
            }
            Ok(()) = config.changed() => {
                Event::Reloaded { own: own_settings(&config.borrow_and_update()) }
            }
            Ok(()) = members.changed() => {
                let members = members.borrow_and_update().clone();
                for node in conductor.gone(&members) {
                    conductor.handle(Event::Gone { node });
                }
                continue;
            }
            _ = ticks.tick() => {
                let copies = conductor.stage.copies.clone();
                // Also where nothing is committed any more for another reason, and each time when this node is promoted.
                if has_failed(&copies) {
                    conductor.handle(Event::DiskFailed);
                }
                let confirmed = copies.values().map(|copy| copy.service().confirmed()).min().flatten();
                Event::Tick { used: used(&copies), confirmed }
            }
            () = stops(&mut stopped) => {
                conductor.handle(Event::Stop);
                let released = async { while conductor.running.join_next().await.is_some() {} };
                if tokio::time::timeout(RELEASE_LIMIT, released).await.is_err() {
                    debug!("the lease could not be given back: others wait for its end");
                }
                return;
            }
        };
        conductor.handle(event);
    }
}

/// The greatest tid and oid that were used.
fn used(copies: &Copies) -> Ceilings {
    let services = || copies.values().map(|copy| copy.service());
    Ceilings {
        tid: services().map(|service| service.storage().last_tid()).max().unwrap_or_default(),
        oid: services().map(|service| service.oids().last()).max().unwrap_or_default(),
    }
}

async fn stops(stopped: &mut watch::Receiver<bool>) {
    // Whoever would say so is gone: it stops, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Writes of nodes that come and go.
fn tell_of_bans(before: &Decided, after: &Decided) {
    let name = |node: &NodeId| after.members().get(node).map(|member| member.name.clone());
    for node in after.suspended().keys().filter(|node| !before.suspended().contains_key(node)) {
        warn!(
            node = name(node),
            "a node comes and goes: for a while it is promoted only where no other can be"
        );
    }
    for node in before.suspended().keys().filter(|node| !after.suspended().contains_key(node)) {
        info!(node = name(node), "the ban of a node that came and went has ended");
    }
}

struct Conductor {
    machine: Failover,
    decisions: Decisions,
    stage: Arc<Stage>,
    events: mpsc::UnboundedSender<Event>,
    /// What was begun for actions.
    running: JoinSet<()>,
    /// What sees to acknowledgements, while this node commits.
    watching: JoinSet<()>,
    /// While this node does not commit, or hands over, clients' votes wait.
    recesses: Arc<Vec<Recess>>,
    handing: Option<Handing>,
    /// What is waited for while this node commits, and of which nodes it is not.
    acks: Option<(AckOptions, BTreeSet<String>)>,
    /// How often each node has gone, as far as that is known here.
    goings: BTreeMap<NodeId, u64>,
}

/// A switchover on its way.
struct Handing {
    to: String,
    since: Instant,
    /// Whoever ordered it waits for this.
    outcome: oneshot::Sender<Outcome>,
    /// Why it takes so long, once it has taken too long.
    missing: Arc<Mutex<Option<String>>>,
}

impl Conductor {
    fn handle(&mut self, event: Event) {
        let before = self.machine.lease_until();
        let actions = self.machine.handle(clock(), event);
        if self.acks.is_some() {
            self.require_acknowledgements();
        }
        let until = self.machine.lease_until();
        if until != before {
            self.take_lease(until);
        }
        self.tell_decided();
        self.act(actions);
        while self.running.try_join_next().is_some() {}
    }

    /// Lets others know what was decided, if there is news.
    fn tell_decided(&self) {
        let decided = self.machine.decided();
        self.stage.decided.send_if_modified(|told| {
            let is_news = !decided.differs_by_leases_only(told);
            if is_news {
                if decided.settings() != told.settings() {
                    self.stage.tuning.apply(&self.stage.config.borrow(), decided.settings());
                }
                tell_of_bans(told, decided);
                *told = Arc::new(decided.clone());
            }
            is_news
        });
        self.stage.why_nobody.send_if_modified(|told| {
            let why = self.machine.why_nobody();
            std::mem::replace(told, why) != why
        });
    }

    /// The nodes that have gone since this was asked last, as often as they have.
    fn gone(&mut self, members: &Members) -> Vec<NodeId> {
        let mut gone = Vec::new();
        for (node, seen) in members.iter() {
            let known = self.goings.insert(node, seen.goings_ever).unwrap_or(0);
            gone.extend((known..seen.goings_ever).map(|_| node));
        }
        gone
    }

    /// Sees to it that clients wait for as many replicas as the last lease says, and for those that count.
    fn require_acknowledgements(&mut self) {
        let decided = self.machine.decided();
        let config = self.stage.config.borrow().clone();
        let options = acknowledgements(&config, decided.settings(), self.machine.acks());
        let disabled = decided.members().iter().filter(|(node, _)| decided.is_disabled(**node));
        let uncounted: BTreeSet<String> = disabled.map(|(_, member)| member.name.clone()).collect();
        let wanted = Some((options, uncounted.clone()));
        if self.acks == wanted {
            return;
        }
        self.acks = wanted;
        self.watching.abort_all();
        for copy in self.stage.copies.values() {
            let service = copy.service();
            if service.change_acknowledgements(options, uncounted.clone()) {
                copy.followers().acknowledge_all(service);
            }
            if options.needed > 0 {
                self.watching.spawn(service.clone().watch_acknowledgements(options));
            }
        }
    }

    /// The lease is another: so are the ceilings.
    fn take_lease(&self, until: Option<Duration>) {
        if until.is_some() {
            let Ceilings { tid, oid } = self.machine.ceilings();
            for copy in self.stage.copies.values() {
                copy.service().storage().set_tid_ceiling(tid);
                copy.service().oids().set_ceiling(oid);
            }
        }
        self.stage.lease.set(until);
        self.stage.copies.values().for_each(|copy| copy.service().release_held());
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            debug!(?action, "failover");
            match action {
                Action::Propose(entry) => {
                    let (decisions, limit) = (self.decisions.clone(), self.machine.timing().lease);
                    let stage = self.stage.clone();
                    self.running.spawn(async move {
                        if let Err(error) = decisions.propose(entry, &stage.name, limit).await {
                            debug!(%error, "a proposal was not decided");
                        }
                    });
                }
                Action::Ask { round } => self.ask(round),
                Action::Follow { primary, epoch } => self.follow(primary, epoch),
                Action::Prepare { epoch } => self.prepare(epoch),
                Action::Begin { epoch, above } => self.begin(epoch, above),
                Action::Open { above } => self.open(above),
                Action::Drain { to, within } => self.drain(to, within),
                Action::Resume => self.resume(),
                Action::Close => self.close(),
            }
        }
    }

    fn ask(&mut self, round: u64) {
        info!("the primary does not renew its lease: asking who could take its place");
        for node in self.machine.decided().asked() {
            let (decisions, events) = (self.decisions.clone(), self.events.clone());
            let limit = self.machine.timing().answers_within;
            self.running.spawn(async move {
                if let Some(standing) = decisions.ask_standing(node, limit).await {
                    let _ = events.send(Event::Answered { round, node, standing });
                }
            });
        }
    }

    fn follow(&mut self, primary: NodeId, epoch: u64) {
        let name = self.machine.decided().members().get(&primary).map(|member| member.name.clone());
        info!(epoch, primary = name, "following");
        self.leave_office();
        if let Some(Handing { to, since, outcome, .. }) = self.handing.take() {
            let _ = outcome.send(match &name {
                Some(name) if *name == to => Ok(format!(
                    "{to} is the primary; votes of clients had to wait for {:.0?}",
                    since.elapsed()
                )),
                _ => Err(format!("{} has become the primary", name.as_deref().unwrap_or("another node"))),
            });
        }
        if *self.stage.part.borrow() == Part::Witness {
            return; // it has nothing that could follow
        }
        self.stage.part.send_replace(Part::Replica);
        self.stage.target.send_replace(Some(primary));
    }

    fn leave_office(&mut self) {
        self.stage.read_write.set(Readiness::Closed);
        self.watching.abort_all();
        self.acks = None;
        self.begin_recess();
        self.stage.copies.values().for_each(|copy| copy.service().hold_what_waits());
    }

    fn begin_recess(&mut self) {
        if self.recesses.is_empty() {
            let copies = self.stage.copies.values();
            self.recesses = Arc::new(copies.map(|copy| copy.service().recess()).collect());
        }
    }

    /// Does what an operator wants, or says why not.
    fn obey(&mut self, Ordered { order, outcome }: Ordered) {
        match order {
            Order::HandOver { to, within, dry_run, by } => {
                let decided = self.machine.decided();
                let me = self.decisions.me();
                let Some(to) = to.or_else(|| best_successor(decided, me, &self.stage.copies)) else {
                    let reason = "no replica could be the primary: name one to hear why";
                    let _ = outcome.send(Err(reason.to_owned()));
                    return;
                };
                let found = objections(decided, me, to, &self.stage.copies);
                let name = decided.members().get(&to).map(|member| member.name.clone()).unwrap_or_default();
                if !found.is_empty() {
                    let _ = outcome.send(Err(found.join("; ")));
                } else if self.handing.is_some() || *self.stage.part.borrow() != Part::Primary {
                    let _ =
                        outcome.send(Err("the primary is handing over or taking office just now".to_owned()));
                } else if dry_run {
                    let _ = outcome.send(Ok(format!("nothing is in the way of {name} becoming the primary")));
                } else {
                    info!(to = %name, %by, "an operator wants another primary");
                    let missing = Arc::default();
                    self.handing = Some(Handing { to: name, since: Instant::now(), outcome, missing });
                    self.handle(Event::HandOver { to, within });
                }
            }
            Order::Pack { .. } if *self.stage.part.borrow() != Part::Primary => {
                let _ = outcome.send(Err("it is not the primary now".to_owned()));
            }
            Order::Pack { storage, until, by } => {
                let begun = self.stage.packs.begin(storage.as_deref(), Tid::new(until), &by);
                let _ = outcome.send(begun.map(|names| names.join(", ")));
            }
            Order::Packs => {
                let told = serde_json::to_string(&self.stage.packs.list());
                let _ = outcome.send(Ok(told.expect("it can be written as JSON")));
            }
            Order::Refound { by } => {
                let _ = outcome.send(self.refound(by));
            }
            Order::Promote { node, within, by } => {
                info!(%node, %by, "an operator wants a primary");
                self.handle(Event::Promote { node, within });
                let _ = outcome.send(Ok("it is promoted as soon as no lease holds".to_owned()));
            }
        }
    }

    /// Goes on with this node alone.
    fn refound(&mut self, by: String) -> Outcome {
        if !self.machine.lease_is_over(clock().now) {
            return Err("there is a primary that renews its lease".to_owned());
        }
        if !standing(&self.stage.copies, false).ready {
            return Err("this node has no whole copy".to_owned());
        }
        if has_failed(&self.stage.copies) {
            return Err(
                "the disk of this node has failed, and nothing can be committed before it is started anew"
                    .to_owned(),
            );
        }
        warn!(%by, "an operator goes on with this node, without the majority of the voters");
        self.stage.refound.send_replace(Some(by));
        Ok("the log of the cluster is begun anew with this node alone, which takes office now".to_owned())
    }

    /// Waits until nothing is committed any more and the other has everything.
    fn drain(&mut self, to: NodeId, within: Duration) {
        self.begin_recess();
        let Some(Handing { to: name, missing, .. }) = &self.handing else { return };
        let (name, missing) = (name.clone(), missing.clone());
        let (stage, recesses, events) = (self.stage.clone(), self.recesses.clone(), self.events.clone());
        let within = within - within / 10; // so that it is known what is missing when it is given up
        self.running.spawn(async move {
            match drained(&stage.copies, &recesses, &name, || used(&stage.copies), within).await {
                Ok(used) => {
                    let _ = events.send(Event::Drained { to, used });
                }
                Err(why) => {
                    *missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                    let _ = events.send(Event::NotDrained { to });
                }
            }
        });
    }

    /// The other did not take over in time.
    fn resume(&mut self) {
        self.recesses = Arc::default();
        if let Some(Handing { to, outcome, missing, .. }) = self.handing.take() {
            let why = missing.lock().unwrap_or_else(PoisonError::into_inner).take();
            let why = why.unwrap_or_else(|| "no majority of the voters decided it in time".to_owned());
            warn!(%to, %why, "the switchover is given up: committing again");
            let _ = outcome.send(Err(format!("{why}; nothing has changed")));
        }
    }

    fn prepare(&mut self, epoch: u64) {
        info!(epoch, "this node is to be the primary");
        self.stage.target.send_replace(None);
        let (mut idle, events) = (self.stage.idle.clone(), self.events.clone());
        self.running.spawn(async move {
            if idle.wait_for(|idle| *idle).await.is_ok() {
                let _ = events.send(Event::Prepared { epoch });
            }
        });
    }

    fn begin(&mut self, epoch: u64, above: Ceilings) {
        let (stage, events) = (self.stage.clone(), self.events.clone());
        for copy in stage.copies.values() {
            copy.follows_nobody();
            copy.service().hold(Hold::Lease(self.stage.lease.clone()));
        }
        self.running.spawn(async move {
            for copy in stage.copies.values() {
                if let Err(error) = copy.begin_epoch_above(epoch, &stage.name, above.tid).await {
                    error!(storage = copy.name(), error = format!("{error:#}"), "the epoch cannot begin");
                    let _ = events.send(Event::CannotBegin { epoch });
                    return;
                }
            }
            let _ = events.send(Event::Begun { epoch });
        });
    }

    fn open(&mut self, above: zeo_proto::Oid) {
        for copy in self.stage.copies.values() {
            let service = copy.service();
            service.oids().observe(above);
            service.hold(Hold::Lease(self.stage.lease.clone()));
        }
        self.acks = None;
        self.require_acknowledgements();
        self.recesses = Arc::default();
        info!("committing for clients");
        self.stage.part.send_replace(Part::Primary);
        self.stage.read_write.set(Readiness::Open);
    }

    fn close(&mut self) {
        warn!("the lease has ended: nothing is committed, and read-write clients must leave");
        self.leave_office();
        self.stage.part.send_replace(Part::Undecided);
    }
}
