//! `standby-testbed bench replication`: how fast replicas follow, beside what the machine could do, and what they cost the
//! primary.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid};

use super::RunOptions;
use super::ceiling;
use super::table::{self, Bound, Row};
use super::throughput::{OBJECTS_PER_COMMIT, RECORD_BYTES, commits_per_second, on_one_thread};
use crate::cluster::{Follows, Node};
use crate::datafile::{self, DataFile};
use crate::driver::{Committer, record};
use crate::poll;

/// Clients that commit.
const CLIENTS: usize = 16;
/// In the file that is copied: objects in a transaction, and the length of their records.
const COPIED_OBJECTS: u64 = 10;
const COPIED_RECORD_BYTES: usize = 1000;
/// In a bulk load.
const BULK_OBJECTS: u64 = 1000;
const BULK_CLIENTS: u64 = 2;
/// A replica may take so long to catch up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Length of the file that empty replicas copy, in MB
    #[arg(long, default_value_t = 1000)]
    megabytes: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each load lasts, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[command(flatten)]
    run: RunOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A node does not start, or does not catch up.
pub fn run(options: &Options) -> Result<bool> {
    let standby = options.run.standby()?;
    let folder = options.run.folder()?;
    let time = Duration::from_secs_f64(options.seconds);
    let mut copies = [
        Row::new("an empty replica catches up, full, MB/s", Some(Bound::OfCeiling(0.5)), None),
        Row::new("an empty replica catches up, fast, MB/s", Some(Bound::OfCeiling(0.5)), None),
        Row::new("a bulk load until the replica has it, MB/s", None, None),
        Row::new("small transactions until the replica has them, MB/s", None, None),
    ];
    let mut commits = [
        Row::new("commits/s, 16 clients, one replica", None, None),
        Row::new("commits/s, 16 clients, two replicas", Some(Bound::OfCeiling(0.85)), None),
        Row::new("commits/s, 16 clients, acks = 1", Some(Bound::OfCeiling(0.5)), None),
        Row::new("commits/s, 1 client, acks = 1", None, None),
    ];
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let scratch = tempfile::tempdir_in(&folder)?;
        let bench = Bench { standby: &standby, folder: scratch.path(), time };
        if options.megabytes > 0 {
            bench.catch_up(options.megabytes * 1_000_000, &mut copies)?;
        }
        bench.follow(&mut copies, &mut commits)?;
    }
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let rows: Vec<Row> = copies.into_iter().chain(commits).collect();
    println!(
        "Replication on {processors} processors, medians of {} rounds; a file of {} MB in transactions of \
         {COPIED_OBJECTS} x {COPIED_RECORD_BYTES} B, loads of {} s\n\
         ceiling: of MB/s, a copy of the file over loopback with one fdatasync at its end; of commits/s, the same \
         primary without replicas\n",
        options.rounds, options.megabytes, options.seconds
    );
    println!("{}", table::text(&rows));
    options.run.record(&json!({
        "processors": processors, "rounds": options.rounds, "seconds": options.seconds,
        "megabytes": options.megabytes, "rows": table::json(&rows),
    }))?;
    Ok(!rows.iter().any(Row::missed))
}

struct Bench<'a> {
    standby: &'a Path,
    folder: &'a Path,
    time: Duration,
}

impl Bench<'_> {
    fn node(&self, name: &str, follows: Follows<'_>, replication: &str) -> Result<Node> {
        let mut node = Node::new(self.folder, name, follows)?;
        node.set_program(self.standby);
        node.set_replication(replication);
        node.configure(follows)?;
        Ok(node)
    }

    /// Empty replicas of a large file.
    fn catch_up(&self, bytes: u64, rows: &mut [Row; 4]) -> Result<()> {
        let mut primary = self.node("catch-up", Follows::Nobody, "")?;
        write_file(&primary.data(), bytes)?;
        std::fs::File::open(primary.data())?.sync_all()?;
        let bytes = std::fs::metadata(primary.data())?.len() as f64;
        primary.start()?;
        let last = on_one_thread(async { primary.last_transaction().await.context("the primary serves") })?;
        for (row, name) in rows.iter_mut().zip(["full", "fast"]) {
            let copied = ceiling::bare_copy(&primary.data(), &self.folder.join("bare-copy"))?;
            let follows = if name == "full" { Follows::Fully(&primary) } else { Follows::Fast(&primary) };
            let mut replica = self.node(name, follows, "")?;
            let began = Instant::now();
            replica.start()?;
            wait_for(&replica, last)?;
            row.ours.push(bytes / began.elapsed().as_secs_f64() / 1e6);
            row.ceiling.push(bytes / copied.as_secs_f64() / 1e6);
            replica.kill()?;
            std::fs::remove_dir_all(replica.data().parent().context("a folder")?)?;
        }
        primary.kill()?;
        std::fs::remove_dir_all(primary.data().parent().context("a folder")?)?;
        Ok(())
    }

    /// Loads on a primary: alone, with one replica, with two, and waiting for one.
    fn follow(&self, copies: &mut [Row; 4], commits: &mut [Row; 4]) -> Result<()> {
        let mut primary = self.node("primary", Follows::Nobody, "")?;
        primary.start()?;
        let alone =
            |series, clients| on_one_thread(commits_per_second(primary.zeo(), clients, series, self.time));
        alone(1, CLIENTS)?; // warm
        let (sixteen, one) = (alone(2, CLIENTS)?, alone(3, 1)?);
        for (row, figure) in commits.iter_mut().zip([sixteen, sixteen, sixteen, one]) {
            row.ceiling.push(figure);
        }
        let transaction_bytes = datafile::transaction_bytes(OBJECTS_PER_COMMIT, RECORD_BYTES) as f64;

        let mut first = self.node("first", Follows::Fully(&primary), "")?;
        first.start()?;
        caught_up(&primary, &first)?;
        let began = Instant::now();
        let rate = alone(4, CLIENTS)?;
        let committed = rate * self.time.as_secs_f64();
        caught_up(&primary, &first)?;
        let followed = committed * transaction_bytes / began.elapsed().as_secs_f64() / 1e6;
        commits[0].ours.push(rate);
        copies[3].ours.push(followed);

        let began = Instant::now();
        let bytes = self.bulk(&primary)?;
        caught_up(&primary, &first)?;
        copies[2].ours.push(bytes / began.elapsed().as_secs_f64() / 1e6);
        let copied = ceiling::bare_copy(&primary.data(), &self.folder.join("bare-copy"))?;
        let bare = std::fs::metadata(primary.data())?.len() as f64 / copied.as_secs_f64() / 1e6;
        copies[2..].iter_mut().for_each(|row| row.ceiling.push(bare));

        let mut second = self.node("second", Follows::Fully(&primary), "")?;
        second.start()?;
        caught_up(&primary, &second)?;
        commits[1].ours.push(alone(5, CLIENTS)?);
        caught_up(&primary, &first)?;
        caught_up(&primary, &second)?;
        second.kill()?;

        primary.stop()?;
        primary.set_replication("acks = 1");
        primary.configure(Follows::Nobody)?;
        primary.start()?;
        let waits =
            |series, clients| on_one_thread(commits_per_second(primary.zeo(), clients, series, self.time));
        waits(6, CLIENTS)?; // the replica is back
        commits[2].ours.push(waits(7, CLIENTS)?);
        commits[3].ours.push(waits(8, 1)?);
        primary.kill()?;
        first.kill()
    }

    /// Clients that commit large transactions. Returns how many bytes that were.
    fn bulk(&self, primary: &Node) -> Result<f64> {
        let committed = on_one_thread(async {
            let mut clients = tokio::task::JoinSet::new();
            for client in 0..BULK_CLIENTS {
                let first = (1 << 40) + client * BULK_OBJECTS;
                let oids = (first..first + BULK_OBJECTS).map(Oid::new).collect();
                let connection = Connection::open(primary.zeo()).await?;
                let mut committer = Committer::new(connection, client, oids, COPIED_RECORD_BYTES, Tid::ZERO);
                let until = Instant::now() + self.time;
                clients.spawn(async move {
                    let mut committed = 0u64;
                    while Instant::now() < until {
                        committer.commit().await?;
                        committed += 1;
                    }
                    anyhow::Ok(committed)
                });
            }
            let mut committed = 0;
            while let Some(done) = clients.join_next().await {
                committed += done??;
            }
            Ok(committed)
        })?;
        let each = datafile::transaction_bytes(BULK_OBJECTS as usize, COPIED_RECORD_BYTES);
        Ok(committed as f64 * each as f64)
    }
}

fn write_file(path: &Path, bytes: u64) -> Result<()> {
    let mut file = DataFile::create(path)?;
    let each = datafile::transaction_bytes(COPIED_OBJECTS as usize, COPIED_RECORD_BYTES) as u64;
    for number in 0..bytes / each {
        let oids = number * COPIED_OBJECTS..(number + 1) * COPIED_OBJECTS;
        file.transaction(oids.map(|oid| (Oid::new(oid), record(COPIED_RECORD_BYTES, oid))))?;
    }
    file.finish()
}

/// Waits until the replica serves everything up to there.
fn wait_for(replica: &Node, last: Tid) -> Result<()> {
    poll::until(&format!("replica {} to have {last}", replica.name), PATIENCE, || {
        let has = on_one_thread(async { Ok(replica.last_transaction().await) })?;
        Ok((has >= Some(last)).then_some(()))
    })
    .with_context(|| replica.log().unwrap_or_default())
}

fn caught_up(primary: &Node, replica: &Node) -> Result<()> {
    let last = on_one_thread(async { primary.last_transaction().await.context("the primary serves") })?;
    wait_for(replica, last)
}
