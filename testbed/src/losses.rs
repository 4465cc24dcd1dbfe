//! What a cluster says of transactions that were lost, held against the files that there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use standby_checker::Transaction;
use standby_control::HistoryEntry;

use crate::cluster::Node;
use crate::decided::runtime;
use crate::poll;

/// The files in which a node has saved what it has lost.
pub fn saved_at(node: &Node) -> Result<Vec<PathBuf>> {
    let folder = node.data().with_file_name("Data.fs.standby").join("lost");
    let paths: std::io::Result<Vec<_>> =
        folder.read_dir().into_iter().flatten().map(|entry| Ok(entry?.path())).collect();
    let is_saved = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "fs");
    Ok(paths?.into_iter().filter(is_saved).collect())
}

/// The files that a history lists, and how many transactions it says are in each.
pub fn listed(happenings: &[HistoryEntry]) -> BTreeMap<PathBuf, u64> {
    let file = |entry: &HistoryEntry| {
        let details = (entry.details["what"] == "lost").then_some(&entry.details)?;
        Some((details["file"].as_str()?.into(), details["transactions"].as_u64()?))
    };
    happenings.iter().filter_map(file).collect()
}

/// The same of the history as this one of the nodes tells it, when it lists all files that there are.
pub fn saved(nodes: &[Node], asked: usize) -> Result<BTreeMap<PathBuf, u64>> {
    let there: Vec<PathBuf> = nodes.iter().map(saved_at).collect::<Result<Vec<_>>>()?.concat();
    poll::until("all that was lost to be listed", poll::PATIENCE, || {
        let told = runtime()?.block_on(nodes[asked].control().history())?;
        let listed = listed(&told.happenings);
        Ok(there.iter().all(|path| listed.contains_key(path)).then_some(listed))
    })
}

/// What is in these files, which have as many transactions as is said.
pub fn read(
    saved: &BTreeMap<PathBuf, u64>,
    transactions: impl Fn(&Path) -> Result<Vec<Transaction>>,
) -> Result<Vec<Vec<Transaction>>> {
    let one = |(path, count): (&PathBuf, &u64)| {
        let transactions = transactions(path)?;
        let found = transactions.len() as u64;
        ensure!(found == *count, "{} has {found} transactions, and not {count}", path.display());
        Ok(transactions)
    };
    saved.iter().map(one).collect()
}

/// Whether this node was ever promoted.
pub fn was_promoted(history: &[HistoryEntry], node: &str) -> bool {
    history.iter().any(|entry| entry.details["what"] == "promoted" && entry.details["node"] == node)
}
