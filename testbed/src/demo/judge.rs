use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use standby_checker::{Transaction, check};

use super::board::Board;
use super::clients::Records;
use super::files;
use super::findings::{Compared, Findings, Lost, longest_gap};
use super::play::Props;
use super::stage::Stage;
use super::view::Source;
use crate::cluster::Node;
use crate::losses::{self, saved_at};

/// Holds what clients were told against what the nodes have, and those against each other.
pub fn judge(
    props: &Props,
    stage: &mut Stage,
    records: &Records,
    findings: &mut Findings,
    board: &Board,
) -> Result<()> {
    let listed = losses::listed(&stage.history()?);
    let mut not_listed = Vec::new();
    for node in &stage.nodes {
        not_listed.extend(saved_at(node)?.into_iter().filter(|path| !listed.contains_key(path)));
    }
    let mut files: Vec<PathBuf> = listed.keys().cloned().collect();
    let lost = files.iter().map(|file| props.kind.transactions(file, None));
    let lost = lost.collect::<Result<Vec<Vec<Transaction>>>>()?;
    // A transaction that two nodes had to take back is one transaction.
    let saved: BTreeSet<_> = lost.iter().flatten().map(|transaction| transaction.tid).collect();
    if !props.keep {
        // Where it is, is told to nobody who could look: it is enough to name the node.
        files.iter_mut().for_each(|file| {
            *file = file.strip_prefix(&props.folder).unwrap_or(file).to_owned();
        });
    }
    let in_files = lost.iter().map(|transactions| transactions.len() as u64).sum();
    let listed = listed.values().sum();
    findings.lost = Lost { listed, in_files, saved: saved.into_iter().collect(), files, not_listed };

    if props.keep {
        findings.compared = Compared::Checksums;
    } else {
        board.change(|view| view.nodes.iter_mut().for_each(|node| (node.stopped, node.role) = (true, None)));
        stage.nodes.iter_mut().try_for_each(Node::stop)?;
        board.tell(Source::Demo, "all nodes are stopped, and their files are compared");
    }
    board.go_on()?;
    let first = &stage.nodes[0];
    let log = props.kind.transactions(&first.data(), Some(props.site.last_tid))?;
    findings.verdict = check(&records.histories, &log, &lost);
    board.tell(Source::Demo, findings.verdict.to_string());
    findings.longest_gap = longest_gap(&records.histories);
    findings.visited = records.visited;

    board.go_on()?;
    let whole = |node: &Node| props.site.ensure_whole_at(node).with_context(|| node.name.clone());
    findings.missing =
        stage.nodes.iter().find_map(|node| whole(node).err()).map(|error| format!("{error:#}"));
    let differs = |node: &Node| match findings.compared {
        Compared::Bytes => same_files(first, node),
        Compared::Checksums => same_checksums(first, node),
    };
    findings.differs =
        stage.nodes[1..].iter().find_map(|node| differs(node).err()).map(|error| format!("{error:#}"));
    board.go_on()?;
    findings.damage =
        stage.nodes.iter().find_map(|node| node.verified().err()).map(|error| format!("{error:#}"));
    Ok(())
}

/// Two nodes have the same log, and the same blobs, byte for byte.
fn same_files(one: &Node, other: &Node) -> Result<()> {
    files::ensure_equal(&one.data(), &other.data())?;
    let (blobs, others) = (files::blobs_in(&one.blobs())?, files::blobs_in(&other.blobs())?);
    anyhow::ensure!(blobs == others, "{} and {} have other blobs", one.name, other.name);
    for path in blobs.keys() {
        files::ensure_equal(&one.blobs().join(path), &other.blobs().join(path))?;
    }
    Ok(())
}

/// Two nodes have the same last transaction, and the same history up to it.
fn same_checksums(one: &Node, other: &Node) -> Result<()> {
    let (ours, theirs) = (one.verified()?, other.verified()?);
    anyhow::ensure!(ours == theirs, "{} has {ours:?}, {} has {theirs:?}", one.name, other.name);
    Ok(())
}
