use std::time::Duration;

use standby_control::{Lag, Role};

use super::act::Act;

/// What is shown, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Since the beginning.
    pub elapsed: Duration,
    /// What is done.
    pub act: Option<Act>,
    /// The number of the primary's reign.
    pub epoch: u64,
    /// In the order of their names, those of the other site behind.
    pub nodes: Vec<NodeView>,
    /// Those who use it.
    pub clients: ClientsView,
    /// What has happened, oldest first.
    pub events: Vec<Event>,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// It was stopped in the end, as it should be.
    pub stopped: bool,
    /// What it says that it does; `None`: it does not answer.
    pub role: Option<Role>,
    /// The number of the reign that wrote its end.
    pub epoch: u64,
    /// The length of its log, in bytes.
    pub log_bytes: u64,
    /// What it lacks, as the node says that it follows; `None`: nobody says.
    pub lag: Option<Lag>,
    /// ZEO clients that are registered.
    pub clients: u64,
}

/// The clients.
#[derive(Clone, Debug, Default)]
pub struct ClientsView {
    /// What kind of clients they are.
    pub kind: String,
    /// How many write.
    pub writers: usize,
    /// How many only read.
    pub readers: usize,
    /// Transactions that they were told are committed.
    pub committed: u64,
    /// The same in each of the last steps of [`STEP`], the newest last.
    pub steps: Vec<u64>,
    /// They have ended, as they should.
    pub ended: bool,
    /// For how long nothing was committed at all, when that is worth telling.
    pub silent: Option<Duration>,
}

/// Commits are counted in steps of this length.
pub const STEP: Duration = Duration::from_millis(250);

impl ClientsView {
    /// Commits a second, in the last second.
    pub fn commits_per_second(&self) -> u64 {
        let steps = (1000 / STEP.as_millis()) as usize;
        self.steps.iter().rev().take(steps).sum()
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, since the beginning.
    pub at: Duration,
    /// Who says it.
    pub by: Source,
    /// What.
    pub text: String,
}

/// Who says that something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The demonstration: what it does, and what it finds.
    Demo,
    /// The cluster's own history.
    Cluster,
    /// Who looks at the nodes.
    Observer,
}

impl Source {
    /// As it is shown, in front of what it says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Cluster => "cluster",
            Self::Observer => "seen",
        }
    }
}

impl NodeView {
    /// What it does, as it is shown.
    pub fn part(&self) -> &'static str {
        if self.stopped { "stopped" } else { role_name(self.role) }
    }
}

/// A role as it is shown.
pub fn role_name(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Primary) => "PRIMARY",
        Some(Role::Replica) => "replica",
        Some(Role::Undecided) => "undecided",
        Some(Role::Witness) => "witness",
        None => "gone",
    }
}

/// What a node lacks, in a few words.
pub fn lag_text(node: &NodeView) -> String {
    match (node.role, node.lag) {
        (Some(Role::Primary), _) => "-".to_owned(),
        (None, _) => String::new(),
        (_, None) => "not known".to_owned(),
        (_, Some(lag)) if lag.transactions == 0 => "in step".to_owned(),
        (_, Some(lag)) => {
            let more = if lag.more { "+" } else { "" };
            format!("{}{more} behind, {:.1} s", lag.transactions, lag.seconds)
        }
    }
}
