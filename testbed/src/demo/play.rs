use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use standby_control::{Role, Switchover};

use super::act::Act;
use super::background::Background;
use super::board::Board;
use super::clients::{Clients, Kind};
use super::counter;
use super::findings::{Change, Findings};
use super::judge;
use super::site::Site;
use super::stage::Stage;
use super::view::Source;
use crate::decided::{change, role};
use crate::losses;

/// How long anything may take but copying.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A copy is taken to be at least so fast, in bytes a second.
const COPIED_A_SECOND: u64 = 2_000_000;
/// So long clients are watched at their work.
const WATCHED: Duration = Duration::from_secs(4);
/// What the primary sends is held up until so many more are committed, or for so long: less than its lease.
const HELD_UP_COMMITS: u64 = 20;
const HELD_UP: Duration = Duration::from_millis(900);

/// What the play is given.
#[derive(Debug)]
pub struct Props {
    /// Where all files are.
    pub folder: PathBuf,
    /// The program `standby`.
    pub standby: PathBuf,
    /// What the cluster begins with.
    pub site: Site,
    /// Who does the work.
    pub kind: Kind,
    /// The nodes run on in the end.
    pub keep: bool,
}

/// The play: the acts, one after the other. What it has found, and the cluster, which runs on if it is kept.
pub fn play(props: &Props, board: &Arc<Board>) -> Result<(Findings, Stage)> {
    let begin = Instant::now();
    let mut findings =
        Findings { clients: props.kind.what(), site: props.site.what.clone(), ..Findings::default() };

    board.begin(Act::Copy)?;
    let mut stage = Stage::set_up(&props.folder, &props.standby, &props.site, board)?;
    let bytes = props.site.data.metadata()?.len();
    stage.wait_until_in_step(PATIENCE + Duration::from_secs(bytes / COPIED_A_SECOND), board)?;
    crate::decided::wait_for_members(&stage.nodes[0], stage.nodes.iter())?;
    findings.copied_in = begin.elapsed();
    board.tell(Source::Demo, format!("all nodes have everything, after {}", seconds(findings.copied_in)));

    board.begin(Act::Work)?;
    let (mut clients, counter) = work(props, &stage, board)?;
    board.show(WATCHED)?;

    board.begin(Act::Kill)?;
    let old = stage.primary(board)?;
    findings.failover = kill(old, &mut stage, &mut clients, board)?;
    board.show(WATCHED / 2)?;

    board.begin(Act::Return)?;
    let lost = come_back(old, &mut stage, board)?;
    findings.failover.old_follows = role(&stage.nodes[old]) == Some(Role::Replica);
    board.tell(Source::Demo, lost);
    board.show(WATCHED / 2)?;

    board.begin(Act::Exchange)?;
    findings.switchover = exchange(old, &stage, &mut clients, board)?;
    board.show(WATCHED / 2)?;

    board.begin(Act::Judge)?;
    let records = clients.finish(board)?;
    drop(counter);
    board.change(|view| view.clients.ended = true);
    board.tell(Source::Demo, "the clients have stopped; all that they were told is judged");
    stage.wait_until_in_step(PATIENCE, board)?;
    judge::judge(props, &mut stage, &records, &mut findings, board)?;
    findings.duration = begin.elapsed();
    Ok((findings, stage))
}

/// The clients begin.
fn work(props: &Props, stage: &Stage, board: &Arc<Board>) -> Result<(Clients, Background)> {
    let folder = props.folder.join("clients");
    let mut clients = Clients::start(&props.kind, folder, &stage.nodes, &props.site, board)?;
    let (writers, readers) = clients.numbers();
    board.change(|view| {
        (view.clients.kind, view.clients.writers, view.clients.readers) =
            (props.kind.name(), writers, readers);
    });
    let counter = counter::start(Arc::clone(board), clients.count())?;
    clients.all_write(board)?;
    board.tell(Source::Demo, format!("{writers} clients write, {readers} read"));
    Ok((clients, counter))
}

/// The primary is killed, when it has something that nobody else has.
fn kill(old: usize, stage: &mut Stage, clients: &mut Clients, board: &Board) -> Result<Change> {
    let name = stage.nodes[old].name.clone();
    board.tell(Source::Demo, format!("what {name} sends to the other nodes is held up"));
    let before = board.view().clients.committed;
    stage.hold_up(old);
    let until = Instant::now() + HELD_UP;
    board.until("a moment", PATIENCE, || {
        let committed = board.view().clients.committed;
        let enough = committed >= before + HELD_UP_COMMITS || Instant::now() > until;
        Ok(enough.then_some(()))
    })?;
    stage.kill(old)?;
    let killed = Instant::now();
    board.tell(Source::Demo, format!("kill -9 of {name}"));
    let new = board.until("another primary", PATIENCE, || Ok(stage.primary_but(&[old])))?;
    let to = stage.nodes[new].name.clone();
    board.tell(Source::Demo, format!("{to} is the primary, {} after the kill", seconds(killed.elapsed())));
    clients.all_write(board)?;
    let all_wrote_after = killed.elapsed();
    board.tell(
        Source::Demo,
        format!("every client writes again, {} after the kill", seconds(all_wrote_after)),
    );
    Ok(Change { from: name, to, all_wrote_after, ..Change::default() })
}

/// It comes back. What it has lost, in words.
fn come_back(old: usize, stage: &mut Stage, board: &Board) -> Result<String> {
    let name = stage.nodes[old].name.clone();
    board.tell(Source::Demo, format!("{name} is started again"));
    stage.start(old)?;
    stage.wait_until_in_step(PATIENCE, board)?;
    let saved = losses::saved_at(&stage.nodes[old])?;
    let told = board.until("all that was lost to be listed", PATIENCE, || {
        let listed = losses::listed(&stage.history()?);
        Ok(saved.iter().all(|file| listed.contains_key(file)).then(|| listed.values().sum::<u64>()))
    })?;
    Ok(match told {
        0 => format!("{name} follows; nothing was lost, this time"),
        count => format!("{name} follows; {count} transactions that only it had are saved, and taken back"),
    })
}

/// An operator exchanges the primary for this node.
fn exchange(to: usize, stage: &Stage, clients: &mut Clients, board: &Board) -> Result<Change> {
    let from = stage.primary(board)?;
    let name = |node: usize| stage.nodes[node].name.clone();
    ensure!(from != to, "{} is the primary already, by itself", name(to));
    board.tell(Source::Demo, format!("standby-admin switchover --to {}", name(to)));
    let asked = Instant::now();
    let wanted = Switchover { to: Some(name(to)), ..Switchover::default() };
    let mut refused = String::new();
    board.until("the switchover", PATIENCE, || {
        match change(&stage.nodes[from], "/v1/switchover", &wanted) {
            Ok(done) => board.tell(Source::Demo, done),
            // On a busy machine it may not be ready yet: that is said, and nothing has changed.
            Err(error) if stage.primary_but(&[]) != Some(to) => {
                let error = format!("{error:#}");
                if error != refused {
                    board.tell(Source::Demo, error.clone());
                    refused = error;
                }
                return Ok(None);
            }
            Err(_) => {}
        }
        Ok(Some(()))
    })?;
    let new = board.until("the primary after the switchover", PATIENCE, || Ok(stage.primary_but(&[from])))?;
    clients.all_write(board)?;
    let all_wrote_after = asked.elapsed();
    board.tell(Source::Demo, format!("every client writes again, after {}", seconds(all_wrote_after)));
    stage.wait_until_in_step(PATIENCE, board)?;
    let old_follows = role(&stage.nodes[from]) == Some(Role::Replica);
    Ok(Change { from: name(from), to: name(new), wanted: Some(name(to)), old_follows, all_wrote_after })
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
