//! The server is killed, or told to end, while it packs under concurrent commits, again and again. The database is whole afterwards:
//! whatever was acknowledged since the pack time is there, and what can be reached; `standby verify` and ZODB agree.
//!
//! `STANDBY_CRASH_ROUNDS=N` and `STANDBY_SEED=N` as in `crashes.rs`.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use standby_testbed::datafile::DataFile;
use standby_testbed::driver::{is_refused, referring_record};
use standby_testbed::script::Script;
use standby_testbed::seed::Seed;
use standby_testbed::server::{Product, Running, Setup};
use standby_testbed::workload::Witness;
use standby_testbed::{place, poll};
use zeo_proto::client::Connection;
use zeo_proto::{Encoding, Oid, Tid, Value};

/// Objects that only lie there, so that a pack takes a while.
const BALLAST: u64 = 4000;
const WITNESSES: u64 = 3;

/// How the server ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    Terminate,
}

fn rounds() -> Result<u64> {
    match std::env::var("STANDBY_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("STANDBY_CRASH_ROUNDS is a number"),
        Err(_) => Ok(50),
    }
}

fn ballast(oid: u64) -> Vec<u8> {
    referring_record(300, oid, &[])
}

/// A root that refers to the ballast and to all that the witnesses will write, some of the ballast twice.
fn make(data: &std::path::Path, witnesses: &[Witness]) -> Result<()> {
    let reached = (1..=BALLAST).map(Oid::new).chain(witnesses.iter().flat_map(Witness::oids));
    let mut file = DataFile::create(data)?;
    file.transaction([(Oid::ROOT, referring_record(100, 0, &reached.collect::<Vec<_>>()))])?;
    for revision in [1, 0] {
        for first in (1..=BALLAST).step_by(500) {
            file.transaction((first..first + 500).map(|oid| (Oid::new(oid), ballast(oid + revision))))?;
        }
    }
    file.finish()
}

/// All witnesses commit, with a pack to the moment `pack_to` among it, until the server ends. Says whether that was within
/// the pack.
fn commit_until_the_end(
    witnesses: Vec<Witness>,
    running: &mut Running,
    pack_to: Option<f64>,
    end: End,
    seed: &mut Seed,
) -> Result<(Vec<Witness>, bool)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = running.address;
    let (mut tasks, mut counts) = (Vec::new(), Vec::new());
    for mut witness in witnesses {
        let count = Arc::new(AtomicU64::new(0));
        counts.push(Arc::clone(&count));
        tasks.push(runtime.spawn(async move {
            witness.commit_until_cut_off(address, count).await?;
            anyhow::Ok(witness)
        }));
    }
    poll::until("a commit of each", poll::PATIENCE, || {
        Ok(counts.iter().all(|count| count.load(Ordering::Relaxed) > 0).then_some(()))
    })?;
    let packed = Arc::new(AtomicBool::new(false));
    let pack = pack_to.map(|pack_to| {
        let packed = Arc::clone(&packed);
        runtime.spawn(async move {
            let mut connection = Connection::open(address).await?;
            connection.call("pack", &[Value::Float(pack_to), Value::Bool(true)]).await?;
            packed.store(true, Ordering::SeqCst);
            anyhow::Ok(())
        })
    });
    // A moment somewhere between the beginning of the pack and its end.
    let acknowledged = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let enough = acknowledged() + seed.pick(0..60);
    poll::until("a moment of the pack", poll::PATIENCE, || {
        Ok((packed.load(Ordering::SeqCst) || acknowledged() >= enough).then_some(()))
    })?;
    let within = pack_to.is_some() && !packed.load(Ordering::SeqCst);
    match end {
        End::Kill => running.server.kill()?,
        End::Terminate => running.server.stop()?,
    }
    if let Some(pack) = pack {
        let ended = runtime.block_on(pack)?;
        // Cut off, but not refused: that it may be only by a server that ends.
        let refused = ended.as_ref().is_err_and(is_refused);
        ensure!(!refused || end == End::Terminate, "{ended:?}");
    }
    let mut witnesses = Vec::new();
    for task in tasks {
        witnesses.push(runtime.block_on(task)??);
    }
    Ok((witnesses, within))
}

/// Looks at what was acknowledged since the transactions that were `known`, and at some of the ballast.
fn check(running: &Running, witnesses: &mut [Witness], known: &[usize]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(running.address).await?;
        for (witness, known) in witnesses.iter_mut().zip(known) {
            witness.check(&mut connection, *known).await?;
        }
        for oid in (1..=BALLAST).step_by(97).map(Oid::new) {
            let loaded = connection.call("loadBefore", &[Value::from(oid), Value::from(Tid::MAX)]).await?;
            let Value::Tuple(loaded) = loaded else { bail!("loadBefore returned {loaded:?}") };
            ensure!(loaded[0].as_bytes() == Some(&ballast(oid.get())), "object {oid} is another");
        }
        Ok(())
    })
}

#[test]
fn a_database_outlives_kills_while_it_is_packed_under_commits() -> Result<()> {
    end_again_and_again(End::Kill, rounds()?)
}

#[test]
fn a_server_that_is_told_to_end_gives_up_a_pack_and_the_exit_status_is_0() -> Result<()> {
    end_again_and_again(End::Terminate, rounds()?.div_ceil(3))
}

fn end_again_and_again(end: End, rounds: u64) -> Result<()> {
    let mut seed = Seed::announced();
    let folder = place::scratch("pack-crashes")?;
    let data = folder.path().join("Data.fs");
    let ledger = folder.path().join("ledger");
    let mut witnesses: Vec<_> = (0..WITNESSES).map(Witness::new).collect();
    make(&data, &witnesses)?;
    let setup = Setup::under_test(&data, Encoding::Msgpack)?;
    let mut judge = Script::start("judge.py", [""; 0])?;
    let mut running = setup.start()?;
    let mut within = 0;
    for round in 0..=rounds {
        let known: Vec<_> = witnesses.iter().map(Witness::committed).collect();
        // First everything that the root refers to has to be there. Then each pack drops what the last round left.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let pack_to = (round > 0).then_some(now);
        let ended = commit_until_the_end(witnesses, &mut running, pack_to, end, &mut seed)
            .with_context(|| format!("round {round}"))?;
        within += u64::from(ended.1);
        witnesses = ended.0;
        if round % 5 == 0 || round == rounds {
            let since = witnesses.iter().zip(&known).map(|(witness, known)| witness.ledger_from(*known));
            std::fs::write(&ledger, since.collect::<String>())?;
            judge.tell(&format!("check {} {}", data.display(), ledger.display()))?;
            judge.hear("right")?;
        }
        running = setup.start().with_context(|| format!("start after round {round}"))?;
        check(&running, &mut witnesses, &known).with_context(|| {
            format!("after round {round}; the log:\n{}", running.server.log().unwrap_or_default())
        })?;
    }
    running.server.stop()?;
    if let Product::Standby(binary) = Product::under_test()? {
        let output = Command::new(binary).arg("verify").arg(&data).output()?;
        ensure!(output.status.success(), "verify: {}", String::from_utf8_lossy(&output.stdout));
    }
    for leftover in ["Data.fs.pack", "Data.fs.standby/index.redb.pack", "Data.fs.standby/anchor.pack"] {
        ensure!(!folder.path().join(leftover).exists(), "{leftover} was left");
    }
    judge.end()?;
    println!("ended {within} of {rounds} times within a pack");
    ensure!(rounds < 10 || within >= rounds / 5, "only {within} of {rounds} ends were within a pack");
    Ok(())
}
