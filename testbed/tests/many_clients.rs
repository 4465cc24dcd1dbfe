//! Many Rust clients, of which each finds the new primary by itself; and all that they saw is what an honest storage tells.
//!
//! - `STANDBY_SWARM=N`: how many (default 50).
//! - `STANDBY_SEED=N`: what they do, as an earlier run printed it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::{Stored, Transaction, check, value_of};
use standby_testbed::decided::{cluster, primary, runtime, wait_for_followers};
use standby_testbed::place;
use standby_testbed::poll::{self, PATIENCE};
use standby_testbed::seed::Seed;
use standby_testbed::swarm::{Plan, Swarm};
use zeo_proto::client::{Address, Client, Connection, Error, Metadata, Options};
use zeo_proto::{Oid, Tid, Value};

#[test]
fn all_of_many_clients_write_on_without_their_primary_and_what_they_saw_is_honest() -> Result<()> {
    let mut seed = Seed::announced();
    let clients = match std::env::var("STANDBY_SWARM") {
        Ok(clients) => clients.parse().context("STANDBY_SWARM is a number")?,
        Err(_) => 50,
    };
    let folder = place::scratch("many-clients")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let addresses: Vec<_> = nodes.iter().map(|node| node.zeo()).collect();
    let runtime = runtime()?;
    let plan = Plan {
        clients,
        // A server that stands still is left soon.
        options: Options { wait: PATIENCE, silence: Duration::from_secs(2), ..Options::new(addresses) },
        every: Duration::from_millis(100),
        records: true,
        seed: seed.pick(0..u64::MAX),
    };
    let _within = runtime.enter();
    let mut swarm = Swarm::start(&plan);
    for is_killed in [true, false, true] {
        swarm.commit_now();
        runtime.block_on(swarm.all_committed(Instant::now(), PATIENCE))?;
        wait_for_followers(&nodes)?;
        let old = primary(&nodes)?;
        // In the middle of what they do.
        swarm.commit_now();
        if is_killed {
            nodes[old].kill()?
        } else {
            nodes[old].server()?.pause()?
        }
        let gone = Instant::now();
        swarm.commit_now();
        let times = runtime.block_on(swarm.all_committed(gone, PATIENCE))?;
        let last = times.iter().map(|back| back.committed).max().context("there are clients")?;
        println!("all have committed again after {last:.1?}");
        if is_killed {
            nodes[old].start()?
        } else {
            nodes[old].server()?.resume()?
        }
        wait_for_followers(&nodes)?;
    }
    let histories = runtime.block_on(swarm.stop())?;
    let log = runtime.block_on(log(&nodes[primary(&nodes)?]))?;
    let verdict = check(&histories, &log, &[]);
    println!("{verdict}");
    ensure!(verdict.is_honest(), "{verdict}");
    ensure!(verdict.counts.acknowledged >= 6 * clients && verdict.counts.invalidations > 0, "{verdict}");
    standby_testbed::decided::stop_with_the_same_history(&mut nodes)
}

#[test]
fn clients_that_were_told_of_one_node_find_the_others() -> Result<()> {
    let folder = place::scratch("one-address")?;
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    let runtime = runtime()?;
    let _within = runtime.enter();
    let old = primary(&nodes)?;
    let writer = Client::start(Options { wait: PATIENCE, ..Options::new([nodes[old].zeo()]) });
    let reader = Client::start(Options { wait: PATIENCE, ..Options::read_only([nodes[old].zeo_ro()]) });
    let seen = |client: &Client| {
        client.view().map_or(0, |view| view.nodes.iter().filter(|node| node.zeo.is_some()).count())
    };
    poll::until("both to know all nodes", PATIENCE, || {
        Ok((seen(&writer) == 3 && seen(&reader) == 3).then_some(()))
    })?;
    ensure!(writer.view().is_some_and(|view| view.primary.as_ref() == Some(&nodes[old].name)));
    let first = runtime.block_on(write(&writer))?;
    wait_for_followers(&nodes)?;
    nodes[old].kill()?;
    let second = runtime.block_on(write(&writer))?;
    ensure!(second > first, "tids grow");
    let new = primary(&nodes)?;
    ensure!(runtime.block_on(writer.connected())? == nodes[new].zeo().into(), "it writes at the new primary");
    let others: Vec<Address> =
        (0..3).filter(|node| *node != old).map(|node| nodes[node].zeo_ro().into()).collect();
    ensure!(others.contains(&runtime.block_on(reader.connected())?), "it reads at another node");
    poll::until("the reader to be told", PATIENCE, || Ok((reader.last_tid() >= second).then_some(())))?;
    let found =
        runtime.block_on(async { reader.snapshot().await?.load(OID).await })?.context("it is there")?;
    ensure!(found.serial == second);
    let view = poll::until("the news", PATIENCE, || Ok(reader.view().filter(|view| view.epoch > 1)))?;
    ensure!(view.primary.as_ref() == Some(&nodes[new].name));
    Ok(())
}

const OID: Oid = Oid::new(1 << 36);

/// Counts up, as often as it takes.
async fn write(client: &Client) -> Result<Tid> {
    loop {
        client.connected().await?;
        let serial = match client.snapshot().await?.load(OID).await {
            Ok(found) => found.map(|found| found.serial),
            Err(Error::Refused(_)) => None,
            Err(Error::HistoryChanged | Error::Disconnected(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut transaction = client.begin(Metadata::default()).await?;
        transaction.store(OID, serial, b"a record");
        match transaction.commit().await {
            Err(Error::Disconnected(_) | Error::Conflict(_) | Error::OutcomeUnknown(_)) => {}
            done => return Ok(done?),
        }
    }
}

/// All that a node has, as it tells its clients.
async fn log(node: &standby_testbed::cluster::Node) -> Result<Vec<Transaction>> {
    let mut connection = Connection::open_read_only(node.zeo_ro()).await?;
    let iterator = connection.call("iterator_start", &[Value::None, Value::None]).await?;
    let mut log = Vec::new();
    loop {
        let next = connection.call("iterator_next", std::slice::from_ref(&iterator)).await?;
        let Some(transaction) = next.as_sequence() else { return Ok(log) };
        let tid = transaction[0].as_tid().context("a tid")?;
        let records = connection.call("iterator_record_start", &[iterator.clone(), tid.into()]).await?;
        let mut writes = Vec::new();
        loop {
            let next = connection.call("iterator_record_next", std::slice::from_ref(&records)).await?;
            let Some(record) = next.as_sequence() else { break };
            let oid = record[0].as_oid().context("an oid")?;
            writes.push(Stored { oid, value: record[2].as_bytes().map(value_of) });
        }
        log.push(Transaction { tid, writes, follows: None });
    }
}
