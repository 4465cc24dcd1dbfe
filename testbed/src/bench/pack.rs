//! `standby-testbed bench pack`: Standby's pack beside ZODB's own, and what it costs a server at work.
//!
//! The first part packs copies of one generated database with each in turn, and compares what is left record by record and
//! blob by blob (`testbed/python/pack.py`). The second starts Standby on a large database, lets clients commit, and
//! packs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use zeo_proto::client::Connection;
use zeo_proto::{Encoding, Oid, Tid, Value};

use super::RunOptions;
use super::table::{self, Bound, Row};
use super::throughput::on_one_thread;
use crate::datafile::DataFile;
use crate::driver::{Committer, referring_record};
use crate::script::Script;
use crate::server::{Product, Setup};

/// Clients that commit while the large database is packed.
const CLIENTS: u64 = 4;
/// Objects in a transaction of theirs.
const OBJECTS_PER_COMMIT: u64 = 10;
/// Length of the records of the large database, without references.
const RECORD_BYTES: usize = 200;
/// Children of an object of the large database.
const CHILDREN: u64 = 8;

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Objects in the database that ZODB packs, too; 0 leaves it out
    #[arg(long, default_value_t = 100_000)]
    compared: u64,
    /// Objects in the large database, which a server packs at work; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    /// Rounds of each, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    run: RunOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A pack fails, or leaves something else than ZODB's.
pub fn run(options: &Options) -> Result<bool> {
    let standby = options.run.standby()?;
    let folder = options.run.folder()?;
    let mut rows = Vec::new();
    if options.compared > 0 {
        let scratch = tempfile::tempdir_in(&folder)?;
        rows.extend(compared(&standby, scratch.path(), options)?);
    }
    if options.objects > 0 {
        let mut own = at_work_rows();
        for round in 1..=options.rounds {
            eprintln!("{} objects under commits, round {round} of {}", options.objects, options.rounds);
            let scratch = tempfile::tempdir_in(&folder)?;
            let figures = pack_at_work(&standby, scratch.path(), options.objects)?;
            own.iter_mut().zip(figures.all()).for_each(|(row, figure)| row.ours.push(figure));
        }
        rows.extend(own);
    }
    println!(
        "Packs, medians of {} rounds: ZODB's of a database of {} objects with equal results, \
         and a server's with {} objects while {CLIENTS} clients commit; rival: ZODB\n",
        options.rounds, options.compared, options.objects
    );
    println!("{}", table::text(&rows));
    options.run.record(&json!({
        "rounds": options.rounds, "compared_objects": options.compared, "objects": options.objects,
        "rows": table::json(&rows),
    }))?;
    Ok(!rows.iter().any(Row::missed))
}

/// Both packs of one database.
fn compared(standby: &Path, folder: &Path, options: &Options) -> Result<[Row; 3]> {
    eprintln!("making {} objects, and packing them with ZODB and with Standby", options.compared);
    let (objects, rounds) = (options.compared.to_string(), options.rounds.to_string());
    let arguments =
        [Path::new("bench"), standby, folder, Path::new(&objects), Path::new(&rounds)].map(Path::as_os_str);
    let printed = Script::run("pack.py", arguments)?;
    let result: serde_json::Value = serde_json::from_str(&printed).context(printed)?;
    eprintln!(
        "{} objects and {} records in {} bytes, {} records left; equal in every round",
        result["objects"], result["records"], result["bytes"], result["records_left"]
    );
    let figures = |name: &str, scale: f64| -> Result<Vec<f64>> {
        let figures = result[name].as_array().with_context(|| format!("no {name}"))?;
        Ok(figures.iter().filter_map(serde_json::Value::as_f64).map(|figure| figure * scale).collect())
    };
    let mut seconds = Row::new("pack, s", Some(Bound::TimesFaster(5.0)), None);
    seconds.rival = figures("zodb_seconds", 1.0)?;
    seconds.ours = figures("standby_seconds", 1.0)?;
    let mut whole = Row::new("the whole process, making an index first, s", None, None);
    whole.rival = figures("zodb_whole", 1.0)?;
    whole.ours = figures("standby_whole", 1.0)?;
    let mut peak = Row::new("peak memory of the process, MB", None, None);
    peak.rival = figures("zodb_peak", 1e-6)?;
    peak.ours = figures("standby_peak", 1e-6)?;
    Ok([seconds, whole, peak])
}

fn at_work_rows() -> Vec<Row> {
    vec![
        Row::new("at work: pack, s", None, None),
        Row::new("at work: commits stopped, ms", Some(Bound::AtMost(100.0)), None),
        Row::new("at work: longest commit of a client, ms", None, None),
        Row::new("at work: commits/s meanwhile", None, None),
        Row::new("at work: memory of the pack, MB", None, None),
        Row::new("at work: memory of the pack, bytes an object", Some(Bound::AtMost(150.0)), None),
    ]
}

/// What a pack costs a server.
struct AtWork {
    seconds: f64,
    stopped_ms: f64,
    longest_commit: Duration,
    commits_per_second: f64,
    /// The server's peak less what was resident before.
    memory_bytes: f64,
    objects: f64,
}

impl AtWork {
    fn all(&self) -> [f64; 6] {
        [
            self.seconds,
            self.stopped_ms,
            self.longest_commit.as_secs_f64() * 1e3,
            self.commits_per_second,
            self.memory_bytes / 1e6,
            self.memory_bytes / self.objects,
        ]
    }
}

fn pack_at_work(standby: &Path, folder: &Path, objects: u64) -> Result<AtWork> {
    let data = folder.join("Data.fs");
    make(&data, objects)?;
    let mut running = Setup::new(Product::Standby(standby.to_owned()), &data, Encoding::Msgpack).start()?;
    let address = running.address;
    let resident = running.server.resident_bytes()?;
    let (longest_commit, commits_per_second) = on_one_thread(async {
        let packed = Arc::new(AtomicBool::new(false));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let connection = Connection::open(address).await?;
            let first = 2 * objects + client * OBJECTS_PER_COMMIT;
            let oids = (first..first + OBJECTS_PER_COMMIT).map(Oid::new).collect();
            let mut committer = Committer::new(connection, client, oids, RECORD_BYTES, Tid::ZERO);
            committer.commit().await?;
            let packed = Arc::clone(&packed);
            clients.spawn(async move {
                let (mut longest, mut count) = (Duration::ZERO, 0u64);
                while !packed.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    committer.commit().await?;
                    longest = longest.max(began.elapsed());
                    count += 1;
                }
                anyhow::Ok((longest, count))
            });
        }
        let began = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() - 60.0;
        let mut connection = Connection::open(address).await?;
        connection.call("pack", &[Value::Float(now), Value::Bool(true)]).await.context("pack")?;
        let took = began.elapsed();
        packed.store(true, Ordering::Relaxed);
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while let Some(client) = clients.join_next().await {
            let (of_client, commits) = client??;
            longest = longest.max(of_client);
            count += commits;
        }
        anyhow::Ok((longest, count as f64 / took.as_secs_f64()))
    })?;
    let peak = running.server.peak_resident_bytes()?;
    let log = running.server.log()?;
    running.server.stop()?;
    Ok(AtWork {
        seconds: figure(&log, "seconds=")?,
        stopped_ms: figure(&log, "commits_stopped_ms=")?,
        longest_commit,
        commits_per_second,
        memory_bytes: peak.saturating_sub(resident) as f64,
        objects: objects as f64,
    })
}

/// A figure out of the line of the server's log that says what the pack did.
fn figure(log: &str, name: &str) -> Result<f64> {
    let line = log.lines().rev().find(|line| line.contains("commits_stopped_ms="));
    let Some(line) = line else { bail!("the server's log does not say how the pack went:\n{log}") };
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
    word.and_then(|word| word.parse().ok()).with_context(|| format!("no {name} in {line}"))
}

/// A tree of objects, a tenth of them written twice, and a tenth that cannot be reached.
fn make(path: &Path, objects: u64) -> Result<()> {
    let reached = objects - objects / 10;
    let children = |oid: u64| -> Vec<Oid> {
        let first = oid * CHILDREN + 1;
        (first..first + CHILDREN).filter(|child| *child < reached).map(Oid::new).collect()
    };
    let revision = |oid: u64, number: u64| {
        let references = if oid < reached { children(oid) } else { Vec::new() };
        (Oid::new(oid), referring_record(RECORD_BYTES, oid ^ number << 40, &references))
    };
    let mut file = DataFile::create(path)?;
    for begin in (0..objects).step_by(1000) {
        file.transaction((begin..objects.min(begin + 1000)).map(|oid| revision(oid, 0)))?;
    }
    for begin in (0..objects).step_by(10_000) {
        let changed = (begin..objects.min(begin + 10_000)).step_by(10);
        file.transaction(changed.map(|oid| revision(oid, 1)))?;
    }
    file.finish()
}
