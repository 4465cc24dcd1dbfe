//! What one node does about the decided entries, and about their absence: `(clock, event) -> actions`.
//!
//! A primary renews its lease; it commits only while that holds ([`Failover::may_commit`], asked after the sync and before
//! the reply), and only below its ceilings. Everybody else waits until the last lease has surely ended, asks how far the
//! replicas are, and proposes to promote the best of them, after that very lease: if it was renewed meanwhile, the
//! proposal has no effect.

use std::collections::BTreeMap;
use std::time::Duration;

use zeo_proto::{Oid, Tid};

use super::choice::{Nobody, Standing, choose};
use super::decided::{Decided, Effect};
use super::entry::{Acknowledged, Cause, Ceilings, Entry, LeaseMark, NodeId};
use super::flaps::Flaps;
use super::leader::{HandOver, Leader, ProposedLease};
use super::settings::Setting;
use super::timing::Timing;

/// A node's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Time since some moment of its own, which never goes back and counts while the machine sleeps (CLOCK_BOOTTIME).
    pub now: Duration,
    /// Its wall clock, as a tid.
    pub wall: Tid,
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next entry of the log was decided.
    Decided(Entry),
    /// Many were, all at once: this is what they amount to.
    Caught(Box<Decided>),
    /// Time has passed, or much was used of what a lease allows.
    Tick {
        /// The greatest tid and oid that were used.
        used: Ceilings,
        /// So many of the replicas that count have everything that was answered; `None`: none are waited for.
        confirmed: Option<usize>,
    },
    /// A node has gone, or was started anew.
    Gone {
        /// Who.
        node: NodeId,
    },
    /// This node's file says something else now.
    Reloaded {
        /// What counts where nothing is decided.
        own: OwnSettings,
    },
    /// The answer of a node to [`Action::Ask`], this one included.
    Answered {
        /// Which question.
        round: u64,
        /// Who.
        node: NodeId,
        /// How far it is.
        standing: Standing,
    },
    /// The answer to [`Action::Prepare`]: the copy follows nobody any more, and what it received is durable.
    Prepared {
        /// The epoch.
        epoch: u64,
    },
    /// The answer to [`Action::Begin`]: the boundary is durable.
    Begun {
        /// The epoch.
        epoch: u64,
    },
    /// It cannot be: somebody else should.
    CannotBegin {
        /// The epoch.
        epoch: u64,
    },
    /// The disk of a copy has failed: nothing can be committed to it until it is opened anew.
    DiskFailed,
    /// An operator wants this node, the primary, to hand over to another.
    HandOver {
        /// To whom.
        to: NodeId,
        /// How long the other may take to have everything.
        within: Duration,
    },
    /// The answer to [`Action::Drain`]: nothing is being committed, and the other has everything.
    Drained {
        /// Who.
        to: NodeId,
        /// What was used, exactly.
        used: Ceilings,
    },
    /// The other answer to it: that will not be, or not soon enough.
    NotDrained {
        /// Who.
        to: NodeId,
    },
    /// An operator wants a node to be the primary, whether it would be chosen or not, once the last lease has ended.
    Promote {
        /// Who.
        node: NodeId,
        /// How long to wait for the end of the lease.
        within: Duration,
    },
    /// The node is to stop: it commits no more.
    Stop,
}

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Propose this to the log. It may get lost.
    Propose(Entry),
    /// Ask all members how far they are.
    Ask {
        /// Which question.
        round: u64,
    },
    /// Somebody else is the primary: follow, directly or not.
    Follow {
        /// Who.
        primary: NodeId,
        /// Its epoch.
        epoch: u64,
    },
    /// This node is the primary: follow nobody any more.
    Prepare {
        /// Its epoch.
        epoch: u64,
    },
    /// Write the boundary of this node's epoch.
    Begin {
        /// Its epoch.
        epoch: u64,
        /// Its tid, and every oid from now on, must be above.
        above: Ceilings,
    },
    /// Commit for clients, while [`Failover::may_commit`].
    Open {
        /// Whose oids must be above.
        above: Oid,
    },
    /// Let nothing new be committed, and wait until nothing is, and the other has everything.
    Drain {
        /// Who.
        to: NodeId,
        /// No longer than this.
        within: Duration,
    },
    /// The other did not take over in time: commit again.
    Resume,
    /// The lease has ended: nothing is committed and nobody answered any more, and read-write clients must leave.
    Close,
}

/// What counts where the cluster has decided nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSettings {
    /// How failover is timed.
    pub timing: Timing,
    /// So many replicas must have a transaction before its client is answered.
    pub acks: usize,
}

/// One node's part in failover.
#[derive(Clone, Debug)]
pub struct Failover {
    me: NodeId,
    start: u64,
    own: OwnSettings,
    decided: Decided,
    /// When the last lease was applied here, or this node started.
    applied_at: Duration,
    role: Role,
    rounds: u64,
    why_nobody: Option<Nobody>,
    flaps: Flaps,
}

#[derive(Clone, Debug)]
enum Role {
    /// It watches the leases of another, and asks around when they end.
    Watching {
        inquiry: Option<Inquiry>,
        not_before: Duration,
        /// Whom an operator wants, and until when.
        wanted: Option<(NodeId, Duration)>,
    },
    Primary(Leader),
    /// It is stopping.
    Stopped,
}

#[derive(Clone, Debug)]
struct Inquiry {
    round: u64,
    began: Duration,
    answers: BTreeMap<NodeId, Standing>,
}

impl Role {
    fn watching(not_before: Duration) -> Self {
        Self::Watching { inquiry: None, not_before, wanted: None }
    }
}

impl Failover {
    /// A node that starts, and has applied these entries. `start` is a random number, another one at each start.
    pub fn new(
        me: NodeId,
        start: u64,
        own: OwnSettings,
        decided: Decided,
        clock: Clock,
    ) -> (Self, Vec<Action>) {
        let mut flaps = Flaps::default();
        flaps.follow(&decided, clock.now);
        let role = Role::watching(Duration::ZERO);
        let (applied_at, rounds, why_nobody) = (clock.now, 0, None);
        let mut failover = Self { me, start, own, decided, applied_at, role, rounds, why_nobody, flaps };
        let mut actions = Vec::new();
        failover.take_place(&mut actions);
        (failover, actions)
    }

    /// What was decided, as far as it is known here.
    pub fn decided(&self) -> &Decided {
        &self.decided
    }

    /// How failover is timed now.
    pub fn timing(&self) -> Timing {
        match self.decided.settings().time(Setting::Lease) {
            Some(lease) => Timing { oid_block: self.own.timing.oid_block, ..Timing::of_lease(lease) },
            None => self.own.timing,
        }
    }

    /// So many replicas should have a transaction before its client is answered.
    fn wanted_acks(&self) -> usize {
        self.decided.settings().count(Setting::Acks).map_or(self.own.acks, |acks| acks as usize)
    }

    /// So many must, since this node's last lease says so.
    pub fn acks(&self) -> usize {
        self.decided.reign().map_or(0, |reign| reign.acks)
    }

    /// Whether what is durable may be published and answered now.
    pub fn may_commit(&self, now: Duration) -> bool {
        self.lease_until().is_some_and(|until| now < until)
    }

    /// Until when this node may commit, on its own clock.
    pub fn lease_until(&self) -> Option<Duration> {
        match &self.role {
            Role::Primary(leader) if leader.stopped_after.is_none() => leader.lease_until,
            #[cfg(test)]
            Role::Primary(leader) if self.decided.broken == super::simulation::Broken::HandOver => {
                leader.lease_until
            }
            _ => None,
        }
    }

    /// It hands over: to whom.
    pub fn hands_over_to(&self) -> Option<NodeId> {
        match &self.role {
            Role::Primary(leader) => leader.handing.as_ref().map(|handing| handing.to),
            _ => None,
        }
    }

    /// Nobody can have a lease any more, as far as this node knows.
    pub fn lease_is_over(&self, now: Duration) -> bool {
        let Some(reign) = self.decided.reign() else { return false };
        let wait = Timing::surely_over(reign.lease.unwrap_or(self.timing().lease));
        reign.released || now.saturating_sub(self.applied_at) > wait
    }

    /// What may be used at most; nothing without a lease.
    pub fn ceilings(&self) -> Ceilings {
        match &self.role {
            Role::Primary(leader) => leader.ceilings,
            _ => Ceilings::default(),
        }
    }

    /// Why nobody was promoted, when that was tried last.
    pub fn why_nobody(&self) -> Option<Nobody> {
        self.why_nobody
    }

    /// What to do about an event.
    pub fn handle(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Decided(entry) => self.apply(clock, &entry, &mut actions),
            Event::Tick { used, confirmed } => {
                match &mut self.role {
                    Role::Primary(leader) => {
                        (leader.used, leader.confirmed) = (used, confirmed);
                        self.keep_lease(clock, &mut actions);
                    }
                    Role::Watching { .. } => self.watch(clock, &mut actions),
                    Role::Stopped => return actions,
                }
                self.look_at_flaps(clock, &mut actions);
            }
            Event::Gone { node } => {
                // Whoever has no lease may be the one that is cut off. The primary's own goings are in the log.
                if self.may_commit(clock.now) && node != self.me {
                    self.flaps.note(node, clock.now);
                }
            }
            Event::Reloaded { own } => self.own = own,
            Event::Answered { round, node, standing } => {
                if let Role::Watching { inquiry: Some(inquiry), .. } = &mut self.role
                    && inquiry.round == round
                {
                    inquiry.answers.insert(node, standing);
                    self.conclude(clock, &mut actions);
                }
            }
            Event::Prepared { epoch } => {
                if let Role::Primary(leader) = &mut self.role
                    && leader.epoch == epoch
                {
                    leader.prepared = true;
                    self.keep_lease(clock, &mut actions);
                }
            }
            Event::Begun { epoch } => {
                if let Role::Primary(leader) = &mut self.role
                    && leader.epoch == epoch
                {
                    leader.begun = true;
                    actions.push(Action::Propose(Entry::Began { epoch }));
                    leader.open_or_close(clock.now, &mut actions);
                }
            }
            Event::CannotBegin { epoch } => {
                if matches!(&self.role, Role::Primary(leader) if leader.epoch == epoch) {
                    self.stop(&mut actions);
                    self.role = Role::watching(clock.now + self.timing().lease * 10);
                }
            }
            Event::DiskFailed => {
                if let Role::Primary(_) = self.role {
                    self.stop(&mut actions);
                    self.role = Role::watching(Duration::ZERO);
                }
            }
            Event::Caught(decided) => {
                // A lease that was known already ends when it did.
                if decided.mark() != self.decided.mark() {
                    self.applied_at = clock.now;
                }
                self.decided = *decided;
                self.flaps.follow(&self.decided, clock.now);
                match (&self.role, self.decided.reign()) {
                    // What it has proposed, and when, it must not forget: that may be decided yet.
                    (Role::Primary(leader), Some(reign)) if leader.epoch == reign.epoch => {
                        let (seq, is_mine, lease) = (reign.seq, reign.start == self.start, reign.lease);
                        let ceilings = self.decided.ceilings();
                        self.lease_decided(clock, seq, is_mine, lease, ceilings, &mut actions);
                    }
                    _ => self.take_place(&mut actions),
                }
            }
            Event::HandOver { to, within } => self.hand_over(clock, to, within, &mut actions),
            Event::Drained { to, used } => {
                let timing = self.timing();
                if let Role::Primary(Leader { handing: Some(handing), .. }) = &mut self.role
                    && handing.to == to
                    && handing.drained.is_none()
                {
                    handing.drained = Some(used);
                    // It takes as long as other decisions.
                    handing.until = handing.until.min(clock.now + timing.lease / 2);
                    self.propose_successor(&mut actions);
                }
            }
            Event::NotDrained { to } => {
                if let Role::Primary(leader) = &mut self.role
                    && leader.handing.as_ref().is_some_and(|handing| handing.to == to)
                {
                    leader.give_up(&mut actions);
                }
            }
            Event::Promote { node, within } => {
                if let Role::Watching { wanted, .. } = &mut self.role {
                    *wanted = Some((node, clock.now + within));
                    self.watch(clock, &mut actions);
                }
            }
            Event::Stop => self.stop(&mut actions),
        }
        actions
    }

    fn hand_over(&mut self, clock: Clock, to: NodeId, within: Duration, actions: &mut Vec<Action>) {
        let member = self.decided.members().get(&to);
        let may = member.is_some_and(|member| member.electable) && !self.decided.is_disabled(to);
        if let Role::Primary(leader @ Leader { open: true, handing: None, in_doubt: false, .. }) =
            &mut self.role
            && may
            && to != self.me
        {
            leader.handing = Some(HandOver { to, until: clock.now + within, drained: None });
            actions.push(Action::Drain { to, within });
        }
    }

    /// Proposes to promote the one to whom this primary hands over. It stops committing with that: either the promotion
    /// is decided next, or a renewal is, and the promotion has no effect.
    fn propose_successor(&mut self, actions: &mut Vec<Action>) {
        let after = self.decided.mark();
        let Role::Primary(leader) = &mut self.role else { return };
        let Some(HandOver { to, drained: used @ Some(_), .. }) = leader.handing else { return };
        if after.epoch != leader.epoch {
            return;
        }
        leader.stopped_after = Some(after.seq);
        actions.push(Action::Propose(Entry::Promote { node: to, after, cause: Cause::Switchover, used }));
    }

    fn apply(&mut self, clock: Clock, entry: &Entry, actions: &mut Vec<Action>) {
        let before = self.decided.reign().map(|reign| (reign.primary, reign.epoch, reign.start));
        let effect = self.decided.apply(entry);
        if effect == Effect::Changed {
            self.flaps.follow(&self.decided, clock.now);
            if let Role::Primary(leader) = &mut self.role {
                leader.confirmed = None; // other nodes may count now
            }
        }
        match (effect, entry) {
            (Effect::Promoted, Entry::Promote { cause, .. }) => {
                if let (Cause::Failover, Some((primary, ..))) = (cause, before) {
                    self.flaps.note(primary, clock.now);
                }
                self.applied_at = clock.now;
                self.why_nobody = None;
                self.take_place(actions);
            }
            (Effect::Renewed, Entry::Renew { mark, start, lease, ceilings, .. }) => {
                // The same reign, and another start: the primary was started anew.
                if let Some((primary, epoch, known)) = before
                    && epoch == mark.epoch
                    && known != 0
                    && known != *start
                {
                    self.flaps.note(primary, clock.now);
                }
                self.applied_at = clock.now;
                self.why_nobody = None;
                let is_mine = *start == self.start;
                self.lease_decided(clock, mark.seq, is_mine, Some(*lease), *ceilings, actions);
            }
            _ => {}
        }
    }

    /// This is the last lease of the reign now.
    fn lease_decided(
        &mut self,
        clock: Clock,
        seq: u64,
        is_mine: bool,
        lease: Option<Duration>,
        ceilings: Ceilings,
        actions: &mut Vec<Action>,
    ) {
        match &mut self.role {
            Role::Primary(leader) => {
                leader.renewed(seq, is_mine, lease.unwrap_or_default(), ceilings);
                let goes_on = leader.stopped_after.is_some_and(|after| seq > after);
                if goes_on {
                    leader.stopped_after = None;
                }
                #[cfg(test)]
                if self.decided.broken == super::simulation::Broken::ProposalTime {
                    leader.lease_until = lease.map(|lease| clock.now + lease);
                }
                leader.open_or_close(clock.now, actions);
                if goes_on && std::mem::take(&mut leader.in_doubt) {
                    actions.push(Action::Resume);
                } else if goes_on {
                    // This renewal was faster than the promotion.
                    self.propose_successor(actions);
                }
            }
            Role::Watching { inquiry, .. } => *inquiry = None,
            Role::Stopped => {}
        }
    }

    /// Becomes what the last promotion says.
    fn take_place(&mut self, actions: &mut Vec<Action>) {
        if let Role::Stopped = self.role {
            return;
        }
        if let Role::Primary(Leader { open: true, .. }) = self.role {
            actions.push(Action::Close);
        }
        self.role = Role::watching(Duration::ZERO);
        let Some(reign) = self.decided.reign() else { return };
        let (primary, epoch) = (reign.primary, reign.epoch);
        if primary != self.me {
            actions.push(Action::Follow { primary, epoch });
            return;
        }
        self.role = Role::Primary(Leader {
            epoch,
            prepared: false,
            beginning: false,
            begun: reign.began,
            open: false,
            // What it used itself, before it was restarted, may be forgotten.
            above: self.decided.ceilings(),
            lease_until: None,
            ceilings: Ceilings::default(),
            proposed: BTreeMap::new(),
            confirmed: None,
            next_seq: reign.seq + 1,
            used: Ceilings::default(),
            handing: None,
            in_doubt: false,
            stopped_after: None,
        });
        actions.push(Action::Prepare { epoch });
    }

    /// Renews the lease when it is time, and notices when it has ended.
    fn keep_lease(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let (timing, needed, in_force) = (self.timing(), self.wanted_acks(), self.acks());
        let roll = self.decided.roll();
        #[cfg(test)]
        let broken = self.decided.broken;
        let Role::Primary(leader) = &mut self.role else { return };
        leader.open_or_close(clock.now, actions);
        if leader.handing.as_ref().is_some_and(|handing| clock.now >= handing.until) {
            leader.give_up(actions);
        }
        if leader.stopped_after.is_some() && leader.handing.is_some() {
            return; // the promotion follows the last lease: there should be no other
        }
        let due = match leader.proposed.last_key_value() {
            Some((_, last)) => {
                let since = clock.now.saturating_sub(last.at);
                since >= timing.renew_every || (last.acks != needed && since >= timing.renew_every / 8)
            }
            None => true,
        };
        if !leader.prepared || !(due || leader.is_short_of_room(clock, &timing)) {
            return;
        }
        let mark = LeaseMark { epoch: leader.epoch, seq: leader.next_seq };
        let ceilings = leader.next_ceilings(clock, &timing);
        let length = leader.next_length(clock, timing.lease);
        #[cfg(test)]
        let length = if broken == super::simulation::Broken::ShorterLease { timing.lease } else { length };
        let is_everywhere = in_force == needed && leader.has_everywhere(needed);
        let acks = Acknowledged { needed, everywhere: is_everywhere.then_some(roll) };
        leader.proposed.insert(leader.next_seq, ProposedLease { at: clock.now, length, acks: needed });
        leader.next_seq += 1;
        let (start, lease) = (self.start, length);
        actions.push(Action::Propose(Entry::Renew { mark, start, lease, ceilings, acks }));
    }

    /// Has those banned that come and go, and lets them in again when it is time.
    fn look_at_flaps(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let (may_lift, retry) = (self.may_commit(clock.now), self.timing().retry);
        let wanted = self.flaps.wanted(&self.decided, may_lift, clock.now, retry);
        actions.extend(wanted.into_iter().map(Action::Propose));
    }

    /// Waits for the end of the lease, and asks around then.
    fn watch(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let may_decide = self.decided.members().get(&self.me).is_some_and(|member| member.voter);
        let timing = self.timing();
        let over = self.lease_is_over(clock.now);
        let Role::Watching { inquiry, not_before, wanted } = &mut self.role else { return };
        if let Some((node, until)) = *wanted {
            if clock.now >= until {
                *wanted = None;
            } else if over && clock.now >= *not_before {
                let (after, cause) = (self.decided.mark(), Cause::Operator);
                actions.push(Action::Propose(Entry::Promote { node, after, cause, used: None }));
                *not_before = clock.now + timing.retry;
                return;
            }
        }
        if !may_decide || self.decided.is_paused() || !over || clock.now < *not_before {
            return;
        }
        if inquiry.is_none() {
            self.rounds += 1;
            *inquiry = Some(Inquiry { round: self.rounds, began: clock.now, answers: BTreeMap::new() });
            actions.push(Action::Ask { round: self.rounds });
        } else {
            self.conclude(clock, actions);
        }
    }

    /// Proposes a promotion when everybody has answered, or there was time enough to.
    fn conclude(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let timing = self.timing();
        let Role::Watching { inquiry: inquiring @ Some(_), not_before, .. } = &mut self.role else { return };
        let Some(inquiry) = inquiring else { return };
        let all = self.decided.asked().iter().all(|node| inquiry.answers.contains_key(node));
        if !all && clock.now.saturating_sub(inquiry.began) < timing.answers_within {
            return;
        }
        match choose(&self.decided, &inquiry.answers) {
            Ok(node) => {
                let after = self.decided.mark();
                let cause = Cause::Failover;
                actions.push(Action::Propose(Entry::Promote { node, after, cause, used: None }));
                self.why_nobody = None;
            }
            Err(nobody) => self.why_nobody = Some(nobody),
        }
        *inquiring = None;
        *not_before = clock.now + timing.retry;
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if let Role::Primary(leader) = &self.role {
            if leader.open {
                actions.push(Action::Close);
            }
            // What was proposed last may be decided yet: then this has no effect, and others wait.
            let mark = LeaseMark { epoch: leader.epoch, seq: leader.next_seq - 1 };
            actions.push(Action::Propose(Entry::Release { mark, start: self.start }));
        }
        self.role = Role::Stopped;
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
