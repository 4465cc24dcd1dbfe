use std::path::PathBuf;
use std::time::Duration;

use standby_checker::{History, Operation, Outcome, Verdict};
use zodb_types::Tid;

use super::clients::Visited;

/// What was found out, as plain data.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What the clients were.
    pub clients: String,
    /// What the cluster began with.
    pub site: String,
    /// How long it took until all nodes had that.
    pub copied_in: Duration,
    /// The failover.
    pub failover: Change,
    /// What was lost by it.
    pub lost: Lost,
    /// The switchover.
    pub switchover: Change,
    /// What the checker says of the histories.
    pub verdict: Verdict,
    /// The longest that a client was without a commit, and which one.
    pub longest_gap: Option<(Duration, String)>,
    /// What visitors have compared, and found as it was.
    pub visited: Visited,
    /// What a node has in another way than the others; `None`: nothing.
    pub differs: Option<String>,
    /// By what they were compared.
    pub compared: Compared,
    /// What is not there any more of what the site had; `None`: all of it is.
    pub missing: Option<String>,
    /// What is wrong with a node's file, as `standby verify` says; `None`: nothing.
    pub damage: Option<String>,
    /// All of it, without builds and preparations.
    pub duration: Duration,
}

/// A change of the primary.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Who it was.
    pub from: String,
    /// Who it is.
    pub to: String,
    /// Who it was to be; `None`: anybody else of that site.
    pub wanted: Option<String>,
    /// What the old one is in the end: `replica`, as it should be.
    pub old_follows: bool,
    /// How long it took until every client had committed again.
    pub all_wrote_after: Duration,
}

/// What was lost.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// So many transactions the cluster's history lists.
    pub listed: u64,
    /// So many there are in the files that were saved.
    pub in_files: u64,
    /// Which: each once, if two nodes had it.
    pub saved: Vec<Tid>,
    /// Those files.
    pub files: Vec<PathBuf>,
    /// Saved files that the history does not name.
    pub not_listed: Vec<PathBuf>,
}

/// By what nodes were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// The bytes of their stopped files, and of their blobs.
    #[default]
    Bytes,
    /// Their last transactions and the running checksums up to there: they run on.
    Checksums,
}

/// The longest time between two commits of one client, and the client.
pub fn longest_gap(histories: &[History]) -> Option<(Duration, String)> {
    let gap = |history: &History| {
        let committed =
            |operation: &Operation| matches!(operation, Operation::Outcome(Outcome::Committed(_)));
        let commits = history.entries.iter().filter(|entry| committed(&entry.operation));
        let times: Vec<u64> = commits.filter_map(|entry| entry.at).collect();
        let longest = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max()?;
        Some((Duration::from_micros(longest), history.client.clone()))
    };
    histories.iter().filter_map(gap).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use standby_checker::Entry;

    #[test]
    fn the_longest_gap_is_that_between_two_commits_of_one_client() {
        let at = |at, operation| Entry { at: Some(at), operation };
        let committed = |tid| Operation::Outcome(Outcome::Committed(Tid::new(tid)));
        let one = History {
            client: "one".to_owned(),
            entries: vec![
                at(1_000, committed(1)),
                at(2_000, Operation::Outcome(Outcome::Unknown)),
                at(5_000, committed(3)),
                at(6_000, committed(5)),
            ],
        };
        let other = History { client: "other".to_owned(), entries: vec![at(90_000, committed(7))] };
        let gap = longest_gap(&[one, other]);
        assert_eq!(gap, Some((Duration::from_micros(4_000), "one".to_owned())));
        assert_eq!(longest_gap(&[]), None);
    }
}
