//! What the control API says, as types: JSON over HTTP/1.1 on a node's `admin` listener.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`NodeStatus`] |
//! | `GET /v1/history` | [`HistoryAnswer`] |
//! | `POST /v1/switchover` with a [`Switchover`] | [`Done`] |
//! | `POST /v1/promote` with a [`Promotion`] | [`Done`] |
//! | `POST /v1/pause` with a [`Pause`] | [`Done`] |
//! | `POST /v1/ban` with a [`Ban`] | [`Done`] |
//! | `POST /v1/disable` with a [`Disable`] | [`Done`] |
//! | `POST /v1/quiet` with a [`Quieten`] | [`Done`] |
//! | `POST /v1/pack` with a [`Pack`] | [`Done`], when it has begun |
//! | `GET /v1/packs` | [`PacksAnswer`] |
//! | `POST /v1/forget` with a [`Forget`] | [`Done`] |
//! | `POST /v1/reload` without a body | [`Reloaded`] |
//! | `GET /v1/settings` | [`SettingsAnswer`] |
//! | `POST /v1/settings` with a [`ChangeSettings`] | [`SettingsChanged`] |
//! | `GET /v1/lost` | [`LostAnswer`] |
//! | `POST /v1/lost/show` with a [`WantedFile`] | a [`ListedTransaction`] a line, as it comes |
//! | `POST /v1/lost/export` with a [`WantedFile`] | the file, as it comes |
//! | `GET /metrics` | text for Prometheus |
//! | `GET`, `HEAD` or `OPTIONS` of `/live`, `/ready`, `/primary`, `/replica`, `/read-only` | 200 or 503, and a line of text |
//!
//! Over TCP, `Authorization: Bearer TOKEN` opens all but the last line, or a TLS client certificate does.
//!
//! A request that is refused is answered with a status of 400 or more (401, 403: who asks; 404: no such path or node; 405: the
//! method; 409: not now, or not at all; 400, 408, 413, 415, 422: the body) and a [`Failure`]. Unknown fields of a body are
//! refused.
//!
//! Fields may be added; those that are there keep their meaning. Tids are 16 hexadecimal digits; times are seconds since
//! 1970, with a fraction; lengths are in bytes.

mod listing;
mod lost;
mod orders;
mod settings;

use serde::{Deserialize, Serialize};

pub use self::listing::{ListedRecord, ListedTransaction};
pub use self::lost::{LostAnswer, LostFile, LostState, WantedFile};
pub use self::orders::{
    Ban, Disable, Done, Failure, Forget, HistoryAnswer, HistoryEntry, Pack, PackState, PackStatus,
    PacksAnswer, Pause, Promotion, Quieten, Switchover,
};
pub use self::settings::{
    ChangeSettings, Reloaded, SettingChange, SettingDifference, SettingOfFile, SettingSource, SettingStatus,
    SettingsAnswer, SettingsChanged,
};

/// A node, as it sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The cluster's name; empty where the node speaks with no other.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// Its group (site).
    pub group: String,
    /// What it does.
    pub role: Role,
    /// The version of the program.
    pub version: String,
    /// When it was started.
    pub started: f64,
    /// Its wall clock, when it answered.
    pub now: f64,
    /// For so many seconds yet it is silent on the network, since an operator wants it.
    #[serde(default)]
    pub quiet_seconds: Option<f64>,
    /// What it serves.
    pub storages: Vec<StorageStatus>,
    /// Its cluster, where that decides who is the primary.
    #[serde(default)]
    pub view: Option<View>,
}

/// A cluster, as a node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The number of the primary's reign; 0: there was none yet.
    pub epoch: u64,
    /// The primary that was decided, whether it is there or not.
    pub primary: Option<String>,
    /// Why no other node would take its place by itself; `None`: one may.
    pub no_failover: Option<String>,
    /// So many seconds this node's wall clock is ahead of the middle of all; `None`: there is none to compare it with.
    pub clock_ahead_seconds: Option<f64>,
    /// That is too many: this node is not promoted.
    pub clock_off: bool,
    /// All nodes that belong to it, by group and name.
    pub nodes: Vec<MemberStatus>,
}

/// A node of a cluster. What it says of itself is as it said it last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number, in hexadecimal: one that has lost its disk comes back with another.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// It takes part in decisions.
    pub voter: bool,
    /// It may become the primary.
    pub electable: bool,
    /// What it says that it does; `None`: it has said nothing.
    pub role: Option<Role>,
    /// How it is seen.
    pub state: MemberState,
    /// For how many seconds; `None` for the node that tells, and for one that was never seen.
    pub for_seconds: Option<f64>,
    /// How often it has gone, or was started anew, in the last 10 minutes.
    pub gone: u64,
    /// That is often.
    pub flapping: bool,
    /// An operator keeps it from being promoted by itself.
    #[serde(default)]
    pub banned: bool,
    /// Since it came and went, it is for a while promoted only where no other can be.
    #[serde(default)]
    pub suspended: bool,
    /// It counts for nothing: it is neither promoted nor waited for.
    #[serde(default)]
    pub disabled: bool,
    /// The number of the reign that wrote its end.
    pub epoch: Option<u64>,
    /// The last transaction of its storages.
    pub last_tid: Option<String>,
    /// When that was committed; `None` where there is none.
    pub last_time: Option<f64>,
    /// So many seconds of its upstream's history are known to be missing.
    pub lag_seconds: Option<f64>,
    /// So many seconds its wall clock is ahead of that of the node that tells.
    pub clock_ahead_seconds: Option<f64>,
    /// It says that its clock is off.
    pub clock_off: bool,
    /// It says that its disk has failed: it takes nothing until it is started anew, and is not promoted.
    #[serde(default)]
    pub disk_failed: bool,
    /// The version of its program.
    pub version: Option<String>,
    /// Where other nodes reach it, HOST:PORT.
    pub peer: Option<String>,
    /// Where read-write clients reach it, HOST:PORT.
    pub zeo: Option<String>,
    /// Where read-only clients reach it, HOST:PORT.
    pub zeo_ro: Option<String>,
}

/// How a node is seen by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer, and has some seconds to.
    Suspect,
    /// It did not.
    Failed,
    /// It was stopped.
    Left,
    /// It was never heard of, since the node that tells was started.
    Unknown,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It commits.
    Primary,
    /// It follows.
    Replica,
    /// It belongs to a cluster in which it is not known who is the primary.
    Undecided,
    /// It has no data, and votes.
    Witness,
}

/// A node's copy of a storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// The storage's name.
    pub name: String,
    /// Whether it is served.
    pub state: CopyState,
    /// Why nothing more is written to it, until the node is started anew; `None`: it is.
    #[serde(default)]
    pub failure: Option<String>,
    /// Its last transaction that was published.
    pub last_tid: String,
    /// When that was committed; `None` where there is none.
    pub last_time: Option<f64>,
    /// The number of the reign that wrote its end; 0 where none was ever noted.
    pub epoch: u64,
    /// The length of its log.
    pub log_bytes: u64,
    /// ZEO clients that are registered.
    pub clients: u64,
    /// What it follows, on a replica.
    pub upstream: Option<UpstreamStatus>,
    /// Where acknowledgements are asked for.
    pub acknowledgements: Option<AcknowledgementStatus>,
    /// Who follows it.
    pub followers: Vec<FollowerStatus>,
}

/// Whether a copy is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// It is.
    Serving,
    /// It lacks transactions that its upstream is known to have: clients are let in after a limit.
    Behind,
    /// It is not whole yet, and not served.
    Incomplete,
}

/// What a copy follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// The node; `None` where none was ever reached.
    pub node: Option<String>,
    /// A stream from it flows.
    pub connected: bool,
    /// Why not, or what went wrong last, since transactions have flowed.
    #[serde(default)]
    pub trouble: Option<String>,
    /// How many seconds ago it said how far it is.
    pub heard: Option<f64>,
    /// The last transaction that it is known to have.
    pub last_tid: Option<String>,
    /// So many seconds of the upstream's history are known to be missing; 0 when nothing is.
    pub lag_seconds: f64,
    /// The nodes that it follows, each of which follows the next; empty while it is not connected.
    #[serde(default)]
    pub route: Vec<String>,
    /// How many upstreams lie between this node and the primary.
    pub distance: u8,
}

/// How acknowledgements stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcknowledgementStatus {
    /// So many replicas must have a transaction before its client is answered.
    pub needed: usize,
    /// So many are there.
    pub present: usize,
    /// Transactions whose clients wait.
    pub waiting: usize,
    /// How many seconds the longest has waited.
    pub waiting_seconds: f64,
    /// Clients are answered without, since too few acknowledged in time.
    pub fell_back: bool,
}

/// A node that follows a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowerStatus {
    /// Its name.
    pub node: String,
    /// Its group.
    pub group: String,
    /// Transactions flow to it; else what it lacks is being found out.
    pub flowing: bool,
    /// Its acknowledgements count.
    pub acknowledges: bool,
    /// Since when it is connected.
    pub since: f64,
    /// Everything up to here was sent to it.
    pub sent_tid: String,
    /// Everything up to here is durable at it.
    pub durable_tid: String,
    /// What it lacks.
    pub lag: Lag,
}

/// What a copy lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// So many transactions.
    pub transactions: u64,
    /// There are more: they were not counted any further.
    pub more: bool,
    /// Their length in the log.
    pub bytes: u64,
    /// How many seconds ago the first of them was committed.
    pub seconds: f64,
}
