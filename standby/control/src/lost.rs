//! Transactions that were lost in failovers, and were saved in files.

use serde::{Deserialize, Serialize};

/// Every saved file that the cluster's history or the node that is asked knows of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostAnswer {
    /// The node that is asked.
    pub node: String,
    /// Oldest first.
    pub files: Vec<LostFile>,
}

/// A saved file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostFile {
    /// When it was saved, or the cluster was told of it, in seconds since 1970.
    pub at: f64,
    /// The node that has it.
    pub node: String,
    /// The storage.
    pub storage: String,
    /// How many transactions it has; of a damaged one, those before the damage.
    pub transactions: u64,
    /// Where it is at that node.
    pub file: String,
    /// Whether it is there.
    pub state: LostState,
    /// The folder with its blobs, if the node that is asked has one.
    pub blobs: Option<String>,
}

/// Whether a saved file is in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostState {
    /// The node that is asked has it.
    Here,
    /// The node that is asked has it, and cannot read it to its end.
    Damaged,
    /// The node that is asked had it: somebody has taken it away.
    Gone,
    /// It is another node's.
    Elsewhere,
}

/// A saved file is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFile {
    /// Its path at the node that has it, or its name alone.
    pub file: String,
}
