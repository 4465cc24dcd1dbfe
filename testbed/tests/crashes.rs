//! The server is killed under concurrent commits, again and again. Whatever was acknowledged is there afterwards, with
//! its data; nothing is there in part; ZODB reads the file; `standby verify` agrees.
//!
//! - `STANDBY_CRASH_ROUNDS=N`: how often each test kills (default 50; the stock clients' test a fifth of it).
//! - `STANDBY_SEED=N`: repeats a run's choices. Each run prints its seed.
//! - `STANDBY_KEEP=1`: keeps the files in `target/testbed/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use standby_testbed::script::Script;
use standby_testbed::seed::Seed;
use standby_testbed::server::{Product, Running, Setup, free_port};
use standby_testbed::workload::{Witness, whole_transactions};
use standby_testbed::{place, poll};
use zeo_proto::client::Connection;
use zeo_proto::{Encoding, Tid, Value};

/// What happens between the server's end and its next start.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    Nothing,
    IndexRemoved,
    TailCut,
}

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

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn verify(data: &Path) -> Result<()> {
    let Product::Standby(binary) = Product::under_test()? else { return Ok(()) };
    let output = Command::new(binary).arg("verify").arg(data).output()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "verify: {said}");
    Ok(())
}

/// All witnesses commit until the server, which ends after some acknowledgements, is gone.
fn commit_until_the_end(
    witnesses: Vec<Witness>,
    running: &mut Running,
    end: End,
    enough: u64,
) -> Result<Vec<Witness>> {
    let runtime = runtime()?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = witnesses
        .into_iter()
        .map(|mut witness| {
            let (address, acknowledged) = (running.address, acknowledged.clone());
            runtime.spawn(async move {
                witness.commit_until_cut_off(address, acknowledged).await?;
                anyhow::Ok(witness)
            })
        })
        .collect();
    poll::until("acknowledged commits", poll::PATIENCE, || {
        Ok((acknowledged.load(Ordering::Relaxed) >= enough).then_some(()))
    })?;
    match end {
        End::Kill => running.server.kill()?,
        End::Terminate => running.server.stop()?,
    }
    runtime.block_on(async {
        let mut witnesses = Vec::new();
        for task in tasks {
            witnesses.push(task.await??);
        }
        Ok(witnesses)
    })
}

/// Cuts the file within its last few transactions. Returns the last tid that is left whole.
fn cut_tail(data: &Path, seed: &mut Seed) -> Result<Tid> {
    let whole = whole_transactions(data)?;
    let kept_at_least = whole.len().saturating_sub(12);
    let from = kept_at_least.checked_sub(1).map_or(4, |last| whole[last].1);
    let size = std::fs::metadata(data)?.len();
    let torn_end = whole.last().map_or(size, |last| size.min(last.1 + 5000));
    let cut = seed.pick(from..torn_end + 1);
    std::fs::OpenOptions::new().write(true).open(data)?.set_len(cut)?;
    let last = whole.iter().rev().find(|(_, end)| *end <= cut).map_or(Tid::ZERO, |(tid, _)| *tid);
    println!("cut at {cut} of {size}: {last} is the last whole transaction");
    Ok(last)
}

fn crash_again_and_again(damage: Damage, end: End, encoding: Encoding) -> Result<()> {
    let mut seed = Seed::announced();
    let folder = place::scratch("crashes")?;
    let data = folder.path().join("Data.fs");
    let ledger = folder.path().join("ledger");
    let setup = Setup::under_test(&data, encoding)?;
    let mut judge = Script::start("judge.py", [""; 0])?;
    let mut witnesses: Vec<_> = (0..4).map(Witness::new).collect();
    let mut running = setup.start()?;
    let rounds = rounds()?;
    for round in 1..=rounds {
        let known: Vec<_> = witnesses.iter().map(Witness::committed).collect();
        witnesses = commit_until_the_end(witnesses, &mut running, end, seed.pick(1..120))?;
        let mut cut_after = None;
        match damage {
            Damage::Nothing => {}
            Damage::IndexRemoved => std::fs::remove_dir_all(index_folder(&data))?,
            Damage::TailCut => {
                let last = cut_tail(&data, &mut seed)?;
                witnesses.iter_mut().for_each(|witness| witness.forget_after(last));
                cut_after = Some(last);
            }
        }
        let judged = round % 5 == 0 || round == rounds;
        if judged {
            std::fs::write(&ledger, witnesses.iter().map(Witness::ledger).collect::<String>())?;
            judge.tell(&format!("check {} {}", data.display(), ledger.display()))?;
            judge.hear("right")?;
        }
        running = setup.start().with_context(|| format!("start after round {round}"))?;
        runtime()?
            .block_on(async {
                let mut connection = Connection::open(running.address).await?;
                if let Some(last) = cut_after {
                    ensure!(
                        connection.registered_at() == last,
                        "{} is the last, not {last}",
                        connection.registered_at()
                    );
                }
                for (witness, known) in witnesses.iter_mut().zip(known) {
                    witness.check(&mut connection, known).await?;
                }
                // And the storage goes on: nothing holds a lock.
                connection.call("lastTransaction", &[] as &[Value<'_>]).await?;
                anyhow::Ok(())
            })
            .with_context(|| {
                format!(
                    "after round {round}; the server's log:\n{}",
                    running.server.log().unwrap_or_default()
                )
            })?;
        if judged {
            verify(&data)?;
        }
    }
    running.server.stop()?;
    verify(&data)?;
    std::fs::write(&ledger, witnesses.iter().map(Witness::ledger).collect::<String>())?;
    judge.tell(&format!("check {} {}", data.display(), ledger.display()))?;
    println!("{}", judge.hear("right")?);
    judge.end()?;
    Ok(())
}

/// Where the index of `data` is.
fn index_folder(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".standby");
    name.into()
}

#[test]
fn what_was_acknowledged_outlives_kills() -> Result<()> {
    crash_again_and_again(Damage::Nothing, End::Kill, Encoding::Msgpack)
}

#[test]
fn what_was_acknowledged_outlives_kills_and_the_loss_of_the_index() -> Result<()> {
    crash_again_and_again(Damage::IndexRemoved, End::Kill, Encoding::Pickle)
}

#[test]
fn whole_transactions_before_a_cut_in_the_tail_outlive_it() -> Result<()> {
    crash_again_and_again(Damage::TailCut, End::Kill, Encoding::Msgpack)
}

#[test]
fn what_was_acknowledged_outlives_sigterm_during_commits_and_the_exit_status_is_0() -> Result<()> {
    crash_again_and_again(Damage::Nothing, End::Terminate, Encoding::Pickle)
}

#[test]
fn what_stock_clients_were_promised_outlives_kills() -> Result<()> {
    let mut seed = Seed::announced();
    let folder = place::scratch("stock-crashes")?;
    let data = folder.path().join("Data.fs");
    let mut setup = Setup::under_test(&data, Encoding::Pickle)?;
    setup.port = free_port()?;
    let mut running = setup.start()?;
    let address = running.address.to_string();
    let ledgers: Vec<_> = (0..3).map(|name| folder.path().join(format!("ledger-{name}"))).collect();
    let mut clients = Vec::new();
    for (name, ledger) in ledgers.iter().enumerate() {
        std::fs::write(ledger, "")?;
        let name = format!("client-{name}");
        let mut client = Script::start("committer.py", [&address, &ledger.display().to_string(), &name])?;
        client.hear("committing")?;
        clients.push(client);
    }
    let mut judge = Script::start("judge.py", [""; 0])?;
    for round in 0..rounds()?.div_ceil(5) {
        // Every client has to have come back, and to have committed some more.
        let lines =
            |ledger: &PathBuf| -> Result<usize> { Ok(std::fs::read_to_string(ledger)?.lines().count()) };
        let enough = seed.pick(1..60) as usize;
        let before = ledgers.iter().map(lines).collect::<Result<Vec<_>>>()?;
        poll::until("commits of every client", poll::PATIENCE, || {
            let now = ledgers.iter().map(lines).collect::<Result<Vec<_>>>()?;
            Ok(now.iter().zip(&before).all(|(now, before)| *now >= before + enough).then_some(()))
        })
        .with_context(|| {
            format!("round {round}; the server's log:\n{}", running.server.log().unwrap_or_default())
        })?;
        running.server.kill()?;
        for ledger in &ledgers {
            judge.tell(&format!("check {} {}", data.display(), ledger.display()))?;
            judge.hear("right")?;
        }
        running = setup.start()?;
    }
    for mut client in clients {
        client.tell("stop")?;
        client.end()?;
    }
    running.server.stop()?;
    for ledger in &ledgers {
        judge.tell(&format!("check {} {}", data.display(), ledger.display()))?;
        println!("{}", judge.hear("right")?);
    }
    verify(&data)
}
