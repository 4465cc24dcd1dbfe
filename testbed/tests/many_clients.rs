//! Many Rust clients, of which each finds the new primary by itself; and all that they saw is what an honest storage tells.
//!
//! - `STANDBY_SWARM=N`: how many (default 50).
//! - `STANDBY_SEED=N`: what they do, as an earlier run printed it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_checker::{Stored, Transaction, check};
use standby_testbed::decided::{cluster, primary, runtime, wait_for_followers};
use standby_testbed::place;
use standby_testbed::poll::PATIENCE;
use standby_testbed::seed::Seed;
use standby_testbed::swarm::{Plan, Swarm, value_of};
use zeo_proto::Value;
use zeo_proto::client::{Connection, Options};

#[test]
fn all_of_many_clients_write_on_after_a_kill_and_what_they_saw_is_honest() -> Result<()> {
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
        options: Options { wait: PATIENCE, ..Options::new(addresses) },
        every: Duration::from_millis(500),
        records: true,
        seed: seed.pick(0..u64::MAX),
    };
    let _within = runtime.enter();
    let mut swarm = Swarm::start(&plan);
    for _ in 0..2 {
        swarm.commit_now();
        runtime.block_on(swarm.all_committed(Instant::now(), PATIENCE))?;
        wait_for_followers(&nodes)?;
        let old = primary(&nodes)?;
        // In the middle of what they do.
        swarm.commit_now();
        nodes[old].kill()?;
        let killed = Instant::now();
        swarm.commit_now();
        let times = runtime.block_on(swarm.all_committed(killed, PATIENCE))?;
        let last = times.iter().map(|back| back.committed).max().context("there are clients")?;
        println!("all have committed again after {last:.1?}");
        nodes[old].start()?;
        wait_for_followers(&nodes)?;
    }
    let histories = runtime.block_on(swarm.stop())?;
    let log = runtime.block_on(log(&nodes[primary(&nodes)?]))?;
    let verdict = check(&histories, &log, &[]);
    println!("{verdict}");
    ensure!(verdict.is_honest(), "{verdict}");
    ensure!(verdict.counts.acknowledged >= 4 * clients && verdict.counts.invalidations > 0, "{verdict}");
    standby_testbed::decided::stop_with_the_same_history(&mut nodes)
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
