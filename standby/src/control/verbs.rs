//! Less frequent things that an operator asks for: taking a node out for a while, packs, drills.

use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Json;
use standby_control::{Disable, Pack, PacksAnswer, Quieten};
use tracing::warn;
use zeo_proto::Tid;

use super::operator::{Answer, By, Change, DECISION, Subjects, said};
use super::refusal::{Body, Refusal};
use crate::failover::decided::Effect;
use crate::failover::entry::Entry;
use crate::failover::order::Order;
use crate::node::Part;
use crate::world;

/// No drill takes longer.
const QUIET_SECONDS_MAX: f64 = 3_600.0;
const DAY_SECONDS: f64 = 86_400.0;

pub(super) async fn disable(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(wanted): Body<Disable>,
) -> Answer {
    let change = Change::begin(&subject, caller, &wanted)?;
    let Disable { node: name, disabled } = &wanted;
    let node = change.node(name)?;
    if *disabled && change.decided.reign().is_some_and(|reign| reign.primary == node) {
        return Err(Refusal::conflict(format!("{name} is the primary: hand over first")));
    }
    let effect = change.propose(Entry::Disable { node, disabled: *disabled }).await?;
    said(match (effect, disabled) {
        (Effect::None, true) => format!("{name} was disabled already"),
        (Effect::None, false) => format!("{name} was not disabled"),
        (_, true) => format!("{name} is neither promoted nor waited for any more, until it is enabled"),
        (_, false) => format!("{name} counts again"),
    })
}

pub(super) async fn quiet(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(Quieten { seconds }): Body<Quieten>,
) -> Answer {
    let node = subject.config.borrow().node.name.clone();
    warn!(seconds, by = %caller, "an operator wants this node to be silent on the network");
    if seconds == 0.0 {
        let was = subject.quiet.left();
        subject.quiet.end();
        return said(match was {
            Some(_) => format!("{node} hears and answers again"),
            None => format!("{node} was not silent"),
        });
    }
    if !(0.0..=QUIET_SECONDS_MAX).contains(&seconds) {
        let reason = format!("seconds must be above 0 and at most {QUIET_SECONDS_MAX}");
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    subject.quiet.begin(Duration::from_secs_f64(seconds));
    said(format!("{node} neither hears nor answers anybody on the network for {seconds} s"))
}

pub(super) async fn pack(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(wanted): Body<Pack>,
) -> Answer {
    let ago = Duration::try_from_secs_f64(wanted.days * DAY_SECONDS);
    let until = ago.ok().and_then(|ago| world::now().checked_sub(ago));
    let Some(until) = until else {
        let reason = format!("{} days: no time to pack to", wanted.days);
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, reason));
    };
    let until = Tid::from_time(until);
    if subject.decisions.is_none() {
        if *subject.part.borrow() != Part::Primary {
            return Err(Refusal::conflict(
                "this node is a replica: pack at the primary, and replicas follow",
            ));
        }
        let begun = subject.packs.begin(wanted.storage.as_deref(), until, &caller.to_string());
        return begun.map_or_else(
            |reason| Err(Refusal::conflict(reason)),
            |names| said(format!("packing {}", names.join(", "))),
        );
    }
    let change = Change::begin(&subject, caller, &wanted)?;
    let Some(reign) = change.decided.reign() else {
        return Err(Refusal::conflict("there has never been a primary"));
    };
    let (storage, by) = (wanted.storage.clone(), change.by.clone());
    let order = Order::Pack { storage, until: until.get(), by };
    let primary = change.name(reign.primary);
    match change.decisions.order(reign.primary, order, DECISION).await {
        Ok(names) => said(format!("packing {names} at {primary}")),
        Err(reason) => Err(Refusal::conflict(format!("{primary}: {reason}"))),
    }
}

pub(super) async fn packs(State(subject): Subjects) -> Result<Json<PacksAnswer>, Refusal> {
    let Some(decisions) = &subject.decisions else {
        let node = subject.config.borrow().node.name.clone();
        return Ok(Json(PacksAnswer { node, packs: subject.packs.list() }));
    };
    let decided = decisions.known().borrow().decided.clone();
    let primary = decided.reign().map(|reign| reign.primary);
    let primary = primary.ok_or_else(|| Refusal::conflict("there has never been a primary"))?;
    let node = decided.members().get(&primary).map(|member| member.name.clone()).unwrap_or_default();
    let told = decisions.order(primary, Order::Packs, DECISION).await;
    let told = told.map_err(|reason| Refusal::conflict(format!("{node}: {reason}")))?;
    let packs = serde_json::from_str(&told).map_err(Refusal::conflict)?;
    Ok(Json(PacksAnswer { node, packs }))
}
