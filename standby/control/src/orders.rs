//! What an operator may ask a node to change, and what has happened.

use serde::{Deserialize, Serialize};

/// Another primary is wanted. Nothing is lost by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switchover {
    /// The name of the node; `None`: the best one.
    #[serde(default)]
    pub to: Option<String>,
    /// How long it may take to have everything; `None`: 10 seconds.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
    /// Only say what is in the way.
    #[serde(default)]
    pub dry_run: bool,
}

/// A node is to be the primary, whatever that loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Its name.
    pub node: String,
    /// It is known that something may be lost.
    #[serde(default)]
    pub force: bool,
    /// No majority of the voters can be reached any more: go on with this node alone. What the others have decided and
    /// committed meanwhile is lost.
    #[serde(default)]
    pub without_majority: bool,
}

/// Whether automatic failover is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// It is.
    pub paused: bool,
}

/// Whether a node is kept from being promoted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// Its name.
    pub node: String,
    /// It is.
    pub banned: bool,
}

/// Whether a node counts for nothing: it is neither promoted nor waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disable {
    /// Its name.
    pub node: String,
    /// It does not count.
    pub disabled: bool,
}

/// The node that is asked is to be silent on the network for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quieten {
    /// For so many seconds; 0: it is to be silent no more.
    pub seconds: f64,
}

/// The primary is to pack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The storage; `None`: all.
    #[serde(default)]
    pub storage: Option<String>,
    /// What was current within so many days stays.
    #[serde(default)]
    pub days: f64,
}

/// How packs are, at the primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PacksAnswer {
    /// The primary.
    pub node: String,
    /// The last one of each storage, where there was one since that node was started.
    pub packs: Vec<PackStatus>,
}

/// A pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackStatus {
    /// The storage.
    pub storage: String,
    /// Whether it has ended.
    pub state: PackState,
    /// What it does, while it runs.
    pub stage: Option<String>,
    /// How much of that is done, 0 to 100.
    pub percent: Option<f64>,
    /// What was done, or why not, once it has ended; for people.
    pub told: Option<String>,
}

/// How a pack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackState {
    /// It is under way.
    Running,
    /// It was done.
    Done,
    /// It was not.
    Failed,
}

/// A node is gone for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Its name.
    pub node: String,
}

/// It was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What, for people.
    pub done: String,
}

/// It was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, for people.
    pub error: String,
}

/// What has happened to the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// Oldest first; of many, the last 1,000.
    pub happenings: Vec<HistoryEntry>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, in seconds since 1970, on the clock of the node that had it decided.
    pub at: f64,
    /// Who had it decided: a node, or an operator at one.
    pub by: String,
    /// What, for people.
    pub text: String,
    /// What, for programs: an object whose key `what` names it.
    pub details: serde_json::Value,
}
