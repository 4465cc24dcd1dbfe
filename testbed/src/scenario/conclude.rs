use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use standby_checker::{History, Kind, Verdict, check};
use standby_control::HistoryEntry;

use super::conditions::primary;
use super::language::{Conclusion, Line, Scenario};
use super::steps::Actor;
use crate::decided::{are_in_step, runtime};
use crate::losses;
use crate::poll::{self, PATIENCE};

/// What is there in the end.
struct End {
    verdict: Verdict,
    happened: Vec<HistoryEntry>,
    leader: usize,
}

/// Ends everything, and looks whether all that must hold does: what the scenario says, that what the clients were told is honest, and
/// that no node has panicked.
pub(super) fn conclude(scenario: &Scenario, actor: &mut Actor, folder: &Path) -> Result<()> {
    actor.record.note("the end")?;
    let end = end(scenario, actor, folder)?;
    actor.record.note(&end.verdict.to_string())?;
    for line in &scenario.conclusions {
        judge(line, &end, actor).with_context(|| format!("line {}: {}", line.number, line.text))?;
    }
    ensure!(end.verdict.is_honest(), "what the clients were told is not honest: {}", end.verdict);
    let counts = end.verdict.counts;
    ensure!(counts.acknowledged > 0 && counts.reads > 0, "nothing was judged: {}", end.verdict);
    Ok(())
}

fn end(scenario: &Scenario, actor: &mut Actor, folder: &Path) -> Result<End> {
    let wants_same = scenario.conclusions.iter().any(|line| line.what == Conclusion::SameHistory);
    let histories = actor.clients.stop().context("at the end, every client writes and then ends")?;
    write_down(&histories, folder)?;
    let stage = &mut actor.stage;
    let leader = poll::until("a primary at the end", PATIENCE, || {
        let leader = primary(stage);
        Ok(leader.filter(|leader| !wants_same || are_in_step(&stage.nodes, *leader).unwrap_or(false)))
    });
    let leader = leader.context("at the end, all have everything")?;
    let saved = losses::saved(&stage.nodes, leader)?;
    let happened = runtime()?.block_on(stage.node(leader).control().history())?.happenings;
    for entry in &happened {
        actor.record.note(&format!("the cluster says: {}", entry.text))?;
    }
    stage.stop_all()?;
    for number in 0..stage.count() {
        let node = stage.node(number);
        ensure!(!node.log()?.contains("panicked at"), "{} has panicked", node.name);
    }
    let log = actor.clients.transactions(&stage.node(leader).data())?;
    let lost = losses::read(&saved, |path| actor.clients.transactions(path))?;
    Ok(End { verdict: check(&histories, &log, &lost), happened, leader })
}

/// What the clients have written down, as the checker reads it.
fn write_down(histories: &[History], folder: &Path) -> Result<()> {
    let folder = folder.join("histories");
    std::fs::create_dir_all(&folder)?;
    for history in histories {
        let path = folder.join(format!("{}.history", history.client.replace(' ', "-")));
        let mut file = BufWriter::new(File::create(path)?);
        for entry in &history.entries {
            serde_json::to_writer(&mut file, entry)?;
            writeln!(file)?;
        }
        file.flush()?;
    }
    Ok(())
}

fn judge(line: &Line<Conclusion>, end: &End, actor: &Actor) -> Result<()> {
    let End { verdict, happened, leader } = end;
    let stage = &actor.stage;
    match &line.what {
        // They have, before they ended.
        Conclusion::EveryClientWrites => {}
        Conclusion::NothingAcknowledgedIsLost => {
            let is_there = verdict.counts.acknowledged_lost == 0 && !verdict.names(Kind::Missing);
            ensure!(is_there, "acknowledged, and lost: {verdict}");
        }
        Conclusion::SomethingIsLostAndListed => {
            ensure!(!verdict.names(Kind::Missing), "lost, and not listed: {verdict}");
            ensure!(verdict.counts.acknowledged_lost > 0, "nothing is lost: {verdict}");
        }
        Conclusion::WhatIsLostIsListed => {
            ensure!(!verdict.names(Kind::Missing), "lost, and not listed: {verdict}");
        }
        Conclusion::NoStaleRead => {
            let stale =
                [Kind::Stale, Kind::NotCurrent, Kind::GoesBack, Kind::UnknownMoment, Kind::WrongValue];
            ensure!(!stale.iter().any(|kind| verdict.names(*kind)), "{verdict}");
        }
        Conclusion::SameHistory => {
            let first = std::fs::read(stage.nodes[0].data())?;
            for node in &stage.nodes[1..] {
                let is_same = std::fs::read(node.data())? == first;
                ensure!(is_same, "{} and {} differ", stage.nodes[0].name, node.name);
            }
        }
        Conclusion::PrimaryIs(node) => {
            ensure!(leader == node, "the primary is {}", stage.name(*leader));
        }
        Conclusion::PrimaryAt(site) => {
            let found = &stage.plan(*leader).site;
            ensure!(found == site, "the primary is {}, at {found}", stage.name(*leader));
        }
        Conclusion::WasNeverPrimary(node) => {
            let name = stage.name(*node);
            if losses::was_promoted(happened, name) {
                bail!("{name} was promoted");
            }
        }
    }
    Ok(())
}
