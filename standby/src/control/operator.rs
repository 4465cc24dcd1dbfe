//! What an operator changes, and what has happened: the rest of the control API.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Json;
use standby_control::{Ban, Done, Forget, HistoryAnswer, Pause, Promotion, Switchover};
use tracing::info;

use super::Subject;
use super::caller::Caller;
use super::guard::from;
use super::history::shown;
use super::refusal::{Body, Refusal};
use crate::decisions::raft::{Decisions, NotDecided};
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Entry, NodeId};
use crate::failover::order::Order;

/// How long a decision may take.
pub(super) const DECISION: Duration = Duration::from_secs(5);
/// How soon it is tried again, where nobody could decide.
const RETRY: Duration = Duration::from_millis(200);
/// How long a replica may take to have everything, unless the operator says otherwise.
const SWITCHOVER: Duration = Duration::from_secs(10);
const SWITCHOVER_MAX: f64 = 600.0;
/// How long to wait for the end of a lease. No lease is longer.
const PROMOTION: Duration = Duration::from_secs(20);
/// How much longer an answer may take than what it tells of.
const MARGIN: Duration = Duration::from_secs(5);

pub(super) type Answer = Result<Json<Done>, Refusal>;
pub(super) type Subjects = State<Arc<Subject>>;
pub(super) type By = ConnectInfo<Caller>;

/// A change that somebody asks for.
pub(super) struct Change {
    pub(super) decisions: Decisions,
    pub(super) decided: Decided,
    /// Who wants it, for the log and the history.
    pub(super) by: String,
}

impl Change {
    pub(super) fn begin(
        subject: &Subject,
        caller: Caller,
        wanted: &impl std::fmt::Debug,
    ) -> Result<Self, Refusal> {
        let decisions = cluster(subject)?;
        let by = format!("{caller} at {}", subject.config.borrow().node.name);
        info!(?wanted, %by, from = from(&caller), "an operator asks for a change");
        let decided = decisions.known().borrow().decided.clone();
        Ok(Self { decisions, decided, by })
    }

    pub(super) fn node(&self, name: &str) -> Result<NodeId, Refusal> {
        let found = self.decided.members().iter().find(|(_, member)| member.name == name);
        found.map(|(node, _)| *node).ok_or_else(|| {
            let mut names: Vec<&str> =
                self.decided.members().values().map(|member| member.name.as_str()).collect();
            names.sort_unstable();
            let known = names.join(", ");
            Refusal(
                StatusCode::NOT_FOUND,
                format!("no node {name:?} belongs to the cluster: there are {known}"),
            )
        })
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        self.decided.members().get(&node).map_or_else(|| node.to_string(), |member| member.name.clone())
    }

    pub(super) async fn propose(&self, entry: Entry) -> Result<Effect, Refusal> {
        // The leader may just have been lost. To have the same decided twice changes nothing.
        let until = tokio::time::Instant::now() + DECISION;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match self.decisions.propose(entry.clone(), &self.by, left).await {
                Ok(effect) => return Ok(effect),
                Err(NotDecided::NoLeader | NotDecided::Unknown(_))
                    if tokio::time::Instant::now() + RETRY < until =>
                {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(Refusal::conflict(error)),
            }
        }
    }

    /// Has it decided; says `done`, or `already` where it had no effect.
    pub(super) async fn decide(&self, entry: Entry, done: String, already: &str) -> Answer {
        match self.propose(entry).await? {
            Effect::None => said(already.to_owned()),
            _ => said(done),
        }
    }
}

pub(super) fn said(done: String) -> Answer {
    Ok(Json(Done { done }))
}

pub(super) fn cluster(subject: &Subject) -> Result<Decisions, Refusal> {
    subject.decisions.clone().ok_or_else(|| {
        Refusal::conflict(
            "the configuration says the node's role: only with role = \"auto\" does a cluster decide",
        )
    })
}

pub(super) async fn history(State(subject): Subjects) -> Result<Json<HistoryAnswer>, Refusal> {
    let known = cluster(&subject)?.known().borrow().clone();
    Ok(Json(HistoryAnswer { happenings: known.history.happenings().map(shown).collect() }))
}

pub(super) async fn pause(State(subject): Subjects, from: By, Body(pause): Body<Pause>) -> Answer {
    let change = Change::begin(&subject, from.0, &pause)?;
    let (done, already) = if pause.paused {
        (
            "automatic failover is off: nobody takes a primary's place by itself",
            "automatic failover was off already",
        )
    } else {
        ("automatic failover is on", "automatic failover was on already")
    };
    change.decide(Entry::Pause { paused: pause.paused }, done.to_owned(), already).await
}

pub(super) async fn ban(State(subject): Subjects, from: By, Body(ban): Body<Ban>) -> Answer {
    let change = Change::begin(&subject, from.0, &ban)?;
    let (node, banned) = (change.node(&ban.node)?, ban.banned);
    let done = match banned {
        true => format!("{} is not promoted by itself any more", ban.node),
        false => format!("{} may be promoted by itself", ban.node),
    };
    let already = match banned {
        true => format!("{} was banned already", ban.node),
        false => format!("{} was not banned", ban.node),
    };
    change.decide(Entry::Ban { node, banned }, done, &already).await
}

pub(super) async fn forget(State(subject): Subjects, from: By, Body(forget): Body<Forget>) -> Answer {
    let change = Change::begin(&subject, from.0, &forget)?;
    let node = change.node(&forget.node)?;
    if change.decided.reign().is_some_and(|reign| reign.primary == node) {
        return Err(Refusal::conflict(format!("{} is the primary: hand over first", forget.node)));
    }
    if change.propose(Entry::Leave { node }).await? == Effect::None {
        return Err(Refusal::conflict(format!("{} became the primary meanwhile", forget.node)));
    }
    // From here on it has no place any more; that its vote does not count either can be tried again.
    change.decisions.dismiss(node, DECISION).await.map_err(|error| {
        Refusal::conflict(format!(
            "{} is removed, but its vote still counts ({error}): try again",
            forget.node
        ))
    })?;
    said(format!("{} does not belong to the cluster any more", forget.node))
}

pub(super) async fn switchover(State(subject): Subjects, from: By, Body(wanted): Body<Switchover>) -> Answer {
    let change = Change::begin(&subject, from.0, &wanted)?;
    let within = match wanted.timeout_seconds {
        None => SWITCHOVER,
        Some(seconds) if seconds > 0.0 && seconds <= SWITCHOVER_MAX => Duration::from_secs_f64(seconds),
        Some(_) => {
            let reason = format!("timeout_seconds must be above 0 and at most {SWITCHOVER_MAX}");
            return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, reason));
        }
    };
    let to = wanted.to.as_deref().map(|name| change.node(name)).transpose()?;
    let Some(reign) = change.decided.reign() else {
        return Err(Refusal::conflict("there has never been a primary"));
    };
    let primary = reign.primary;
    let order = Order::HandOver { to, within, dry_run: wanted.dry_run, by: change.by.clone() };
    let outcome = change.decisions.order(primary, order, within + MARGIN).await;
    match outcome {
        Ok(done) => said(done),
        Err(reason) => Err(Refusal::conflict(format!("{}: {reason}", change.name(primary)))),
    }
}

pub(super) async fn promote(State(subject): Subjects, from: By, Body(wanted): Body<Promotion>) -> Answer {
    let change = Change::begin(&subject, from.0, &wanted)?;
    let node = change.node(&wanted.node)?;
    if !wanted.force {
        return Err(Refusal::conflict(
            "a promotion may lose what the others have and this node has not, so it must be forced; \
             a switchover loses nothing, but needs the primary",
        ));
    }
    if !change.decided.members().get(&node).is_some_and(|member| member.electable) {
        return Err(Refusal::conflict(format!("{} is not electable", wanted.node)));
    }
    if change.decided.is_disabled(node) && !wanted.without_majority {
        return Err(Refusal::conflict(format!("{} is disabled: enable it first", wanted.node)));
    }
    if wanted.without_majority {
        let outcome = change.decisions.order(node, Order::Refound { by: change.by.clone() }, DECISION).await;
        return outcome
            .map_or_else(|reason| Err(Refusal::conflict(format!("{}: {reason}", wanted.node))), said);
    }
    let within = PROMOTION;
    let order = Order::Promote { node, within, by: change.by.clone() };
    let me = change.decisions.me();
    change.decisions.order(me, order, DECISION).await.map_err(Refusal::conflict)?;
    let mut known = change.decisions.known();
    let promoted = known.wait_for(|known| {
        known
            .decided
            .reign()
            .is_some_and(|reign| reign.primary == node && reign.epoch > change.decided.mark().epoch)
    });
    let waited = tokio::time::timeout(within, promoted).await.is_ok_and(|promoted| promoted.is_ok());
    match waited {
        true => said(format!("{} is the primary", wanted.node)),
        false => Err(Refusal::conflict(format!(
            "not within {within:?}: either {} still renews its lease (then use a switchover), or no majority of the voters is \
             reachable (then this can be done without it, and loses what the others have)",
            change.decided.reign().map_or("nobody".to_owned(), |reign| change.name(reign.primary))
        ))),
    }
}
