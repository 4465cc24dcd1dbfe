//! The I/O around [`Failover`]: carries out what the machine decides for this node.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};
use zeo_proto::Tid;

use super::peers::Copies;
use crate::decisions::raft::{Decisions, Started};
use crate::decisions::state::News;
use crate::door::{Keeper, Readiness};
use crate::failover::choice::Standing;
use crate::failover::decided::Decided;
use crate::failover::entry::{Ceilings, NodeId};
use crate::failover::lease::{LeaseView, since_boot};
use crate::failover::machine::{Action, Clock, Event, Failover};
use crate::failover::timing::Timing;
use crate::service::acks::AckOptions;
use crate::service::gate::Hold;

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
    /// What was decided, but for leases, which change all the time.
    pub(super) decided: watch::Sender<Arc<Decided>>,
    /// How acknowledgements are waited for, if the cluster asks for them.
    pub(super) acks: AckOptions,
}

/// How far the copies are, of a node whose clock may be off.
pub(super) fn standing(copies: &Copies, clock_off: bool) -> Standing {
    let lineages: Vec<_> = copies.values().map(|copy| copy.lineage()).collect();
    let lasts: Vec<Tid> = copies.values().map(|copy| copy.service().storage().last_tid()).collect();
    let epochs = lineages.iter().zip(&lasts).map(|(lineage, last)| lineage.epochs.up_to(*last).newest());
    Standing {
        ready: lineages.iter().all(|lineage| lineage.is_whole()),
        clock_off,
        epoch: epochs.min().unwrap_or(0),
        lasts,
    }
}

fn clock() -> Clock {
    Clock { now: since_boot(), wall: Tid::from_time(SystemTime::now()) }
}

/// Does as the machine says, until the node stops.
pub(super) async fn conduct(
    started: Started,
    timing: Timing,
    stage: Stage,
    mut stopped: watch::Receiver<bool>,
) {
    let Started { decisions, decided, mut news } = started;
    let (events, mut happened) = mpsc::unbounded_channel();
    let start = RandomState::new().hash_one(SystemTime::now());
    let (machine, actions) = Failover::new(decisions.me(), start, timing, decided, clock());
    let lease = LeaseView::default();
    let mut conductor = Conductor {
        machine,
        timing,
        decisions,
        stage: Arc::new(stage),
        events,
        lease,
        running: JoinSet::new(),
        watching: JoinSet::new(),
    };
    conductor.act(actions);
    let mut ticks =
        tokio::time::interval((timing.lease / 40).clamp(Duration::from_millis(5), Duration::from_millis(50)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            heard = news.recv() => match heard {
                Some(News::Entry(entry)) => Event::Decided(entry),
                Some(News::State(decided)) => Event::Caught(decided),
                None => return,
            },
            Some(event) = happened.recv() => event,
            _ = ticks.tick() => Event::Tick { used: conductor.used() },
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

async fn stops(stopped: &mut watch::Receiver<bool>) {
    // Whoever would say so is gone: it stops, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

struct Conductor {
    machine: Failover,
    timing: Timing,
    decisions: Decisions,
    stage: Arc<Stage>,
    events: mpsc::UnboundedSender<Event>,
    lease: LeaseView,
    /// What was begun for actions.
    running: JoinSet<()>,
    /// What sees to acknowledgements, while this node commits.
    watching: JoinSet<()>,
}

impl Conductor {
    fn handle(&mut self, event: Event) {
        let before = self.machine.lease_until();
        let actions = self.machine.handle(clock(), event);
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
                *told = Arc::new(decided.clone());
            }
            is_news
        });
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
        self.lease.set(until);
        self.stage.copies.values().for_each(|copy| copy.service().release_held());
    }

    fn used(&self) -> Ceilings {
        let services = || self.stage.copies.values().map(|copy| copy.service());
        Ceilings {
            tid: services().map(|service| service.storage().last_tid()).max().unwrap_or_default(),
            oid: services().map(|service| service.oids().last()).max().unwrap_or_default(),
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            debug!(?action, "failover");
            match action {
                Action::Propose(entry) => {
                    let (decisions, limit) = (self.decisions.clone(), self.timing.lease);
                    self.running.spawn(async move {
                        if let Err(error) = decisions.propose(entry, limit).await {
                            debug!(%error, "a proposal was not decided");
                        }
                    });
                }
                Action::Ask { round } => self.ask(round),
                Action::Follow { primary, epoch } => self.follow(primary, epoch),
                Action::Prepare { epoch } => self.prepare(epoch),
                Action::Begin { epoch, above } => self.begin(epoch, above),
                Action::Open { above } => self.open(above),
                Action::Close => self.close(),
            }
        }
    }

    fn ask(&mut self, round: u64) {
        info!("the primary does not renew its lease: asking who could take its place");
        let candidates: Vec<NodeId> = self.machine.decided().candidates().map(|(node, _)| node).collect();
        for node in candidates {
            let (decisions, events) = (self.decisions.clone(), self.events.clone());
            let limit = self.timing.answers_within;
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
        self.stage.part.send_replace(Part::Replica);
        self.stage.target.send_replace(Some(primary));
    }

    fn leave_office(&mut self) {
        self.stage.read_write.set(Readiness::Closed);
        self.watching.abort_all();
        self.stage.copies.values().for_each(|copy| copy.service().hold_what_waits());
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
            copy.service().hold(Hold::Lease(self.lease.clone()));
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
        self.watching.abort_all();
        let needed = self.machine.decided().acks();
        for copy in self.stage.copies.values() {
            let service = copy.service();
            service.oids().observe(above);
            service.hold(Hold::Lease(self.lease.clone()));
            if needed > 0 {
                let acks = AckOptions { needed, ..self.stage.acks };
                service.require_acknowledgements(acks);
                copy.followers().acknowledge_all(service);
                self.watching.spawn(service.clone().watch_acknowledgements(acks));
            }
        }
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
