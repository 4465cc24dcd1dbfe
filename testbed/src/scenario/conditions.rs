use std::time::{Duration, Instant};

use standby_control::{MemberState, NodeStatus, Role};

use super::clients::Clients;
use super::stage::Stage;
use crate::decided::{follow_closely, role};

/// Clients that have committed nothing for so long do not write.
const NOTHING: Duration = Duration::from_secs(1);
/// A node that lacks nothing older than this is in step.
const IN_STEP: Duration = Duration::from_secs(1);

/// A condition with all that it speaks of found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A node is the primary that is not this one.
    PrimaryOtherThan(Option<usize>),
    NoPrimary,
    IsPrimary(usize, bool),
    PrimaryAt(String),
    AllInStep,
    NoClientWrites,
    CommitsAreRefused,
    IsMissed(usize),
    ClockIsOff(usize),
    DiskHasFailed(usize),
}

/// Looks whether a condition holds, again and again.
#[derive(Debug)]
pub(super) struct Watch {
    asked: Asked,
    /// How many commits there were, and since when.
    commits: (u64, Instant),
    /// There must have been none for so long.
    nothing: Duration,
    refused_before: u64,
}

impl Watch {
    /// Waits for it.
    pub(super) fn until(asked: Asked, clients: &Clients) -> Self {
        let commits = (clients.commits(), Instant::now());
        Self { asked, commits, nothing: NOTHING, refused_before: clients.refused() }
    }

    /// Looks whether it holds all the while.
    pub(super) fn throughout(asked: Asked, clients: &Clients) -> Self {
        Self { nothing: Duration::ZERO, ..Self::until(asked, clients) }
    }

    /// Whether it holds now. A node that does not answer is none for which anything holds.
    pub(super) fn holds(&mut self, stage: &Stage, clients: &Clients) -> bool {
        match &self.asked {
            Asked::PrimaryOtherThan(old) => primary_other_than(stage, *old).is_some(),
            Asked::NoPrimary => primary(stage).is_none(),
            Asked::IsPrimary(node, wanted) => {
                let is_primary = stage.awake().any(|awake| awake == *node)
                    && role(stage.node(*node)) == Some(Role::Primary);
                is_primary == *wanted
            }
            Asked::PrimaryAt(site) => primary(stage).is_some_and(|node| stage.plan(node).site == *site),
            Asked::AllInStep => primary(stage)
                .is_some_and(|leader| follow_closely(&stage.nodes, leader, IN_STEP).unwrap_or(false)),
            Asked::NoClientWrites => {
                let commits = clients.commits();
                if commits != self.commits.0 {
                    self.commits = (commits, Instant::now());
                    return false;
                }
                self.commits.1.elapsed() >= self.nothing
            }
            Asked::CommitsAreRefused => clients.refused() > self.refused_before,
            Asked::IsMissed(node) => {
                let mut others = stage.awake().filter(|other| other != node).peekable();
                others.peek().is_some() && others.all(|other| is_missed(stage, other, stage.name(*node)))
            }
            Asked::ClockIsOff(node) => {
                let view = status(stage, *node).and_then(|status| status.view);
                view.is_some_and(|view| view.clock_off)
            }
            Asked::DiskHasFailed(node) => status(stage, *node)
                .is_some_and(|status| status.storages.iter().any(|storage| storage.failure.is_some())),
        }
    }

    /// What to say where it has to hold and does not.
    pub(super) fn told(&self, stage: &Stage) -> String {
        let roles = stage.awake().map(|node| {
            let role = role(stage.node(node)).map_or("silent".to_owned(), |role| format!("{role:?}"));
            format!("{} {}", stage.name(node), role.to_lowercase())
        });
        roles.collect::<Vec<_>>().join(", ")
    }
}

fn status(stage: &Stage, node: usize) -> Option<NodeStatus> {
    stage.node(node).status().ok()
}

fn is_missed(stage: &Stage, asked: usize, name: &str) -> bool {
    let view = status(stage, asked).and_then(|status| status.view);
    let row = view.and_then(|view| view.nodes.into_iter().find(|node| node.name == name));
    row.is_some_and(|row| row.state == MemberState::Failed)
}

/// The node that says it is the primary.
pub(super) fn primary(stage: &Stage) -> Option<usize> {
    primary_other_than(stage, None)
}

fn primary_other_than(stage: &Stage, old: Option<usize>) -> Option<usize> {
    let mut others = stage.awake().filter(|node| Some(*node) != old);
    others.find(|node| role(stage.node(*node)) == Some(Role::Primary))
}
