//! `standby-testbed bench zeo`: Standby, the stock server and the machine, in turn, with one driver.
//!
//! Every round starts both servers anew, each on its own copy of the same file, and as their users start them: both
//! write durably before they acknowledge. The driver runs on one thread. Medians of the rounds are compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use zeo_proto::{Encoding, Oid};

use super::table::{self, Bound, Row};
use super::throughput::{
    OBJECTS_LOADED, OBJECTS_PER_COMMIT, RECORD_BYTES, commits_per_second, loads_per_second, on_one_thread,
    plain, registered,
};
use super::{ceiling, memory};
use crate::driver::{LoadPlan, record};
use crate::server::{Product, Setup, encoding_name};
use crate::{datafile, place};

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// The binary to measure [default: the one beside this one, else target/release/standby]
    #[arg(long, value_name = "PATH")]
    standby: Option<PathBuf>,
    /// Measure only the stock server and the machine
    #[arg(long, conflicts_with = "standby")]
    no_standby: bool,
    /// A Python with stock ZEO [default: $STANDBY_PYTHON, else target/venv/bin/python]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// What the servers speak
    #[arg(long, value_parser = parse_encoding, default_value = "msgpack")]
    encoding: Encoding,
    /// Rounds, of which the median counts [default: 5, with --quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement [default: 3, with --quick 0.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Objects in the large database; 0 leaves it out [default: 1000000, with --quick 100000]
    #[arg(long)]
    objects: Option<u64>,
    /// Short and rough
    #[arg(long)]
    quick: bool,
    /// Folder on the disk to measure [default: target/bench]; what is put there is removed afterwards
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Also writes every round's figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_encoding(name: &str) -> Result<Encoding, String> {
    [Encoding::Pickle, Encoding::Msgpack]
        .into_iter()
        .find(|encoding| encoding_name(*encoding) == name)
        .ok_or_else(|| "it is pickle or msgpack".to_owned())
}

/// One server's figures in one round.
struct Figures {
    loads_pipelined: f64,
    loads_single: f64,
    commits_one: f64,
    commits_sixteen: f64,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A server does not start, or answers with an exception.
pub fn run(options: &Options) -> Result<bool> {
    let rival = Product::Runzeo(options.python.clone().map_or_else(place::python, Ok)?);
    let ours = if options.no_standby {
        None
    } else {
        Some(Product::Standby(super::standby_binary(options.standby.as_deref())?))
    };
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    let seconds = options.seconds.unwrap_or(if options.quick { 0.5 } else { 3.0 });
    let time = Duration::from_secs_f64(seconds);
    let folder =
        options.folder.clone().map_or_else(|| place::target_folder().map(|t| t.join("bench")), Ok)?;
    std::fs::create_dir_all(&folder)?;
    let scratch = tempfile::tempdir_in(&folder)?;

    let mut rows = [
        Row::new(
            "loads/s, 4 connections x 16 outstanding",
            Some(Bound::TimesRival(8.0)),
            Some(Bound::OfCeiling(0.5)),
        ),
        Row::new("loads/s, 1 connection x 1", Some(Bound::OfCeiling(0.8)), None),
        Row::new(
            "commits/s of 10 x 400 B, 1 client",
            Some(Bound::TimesRival(2.5)),
            Some(Bound::OfCeiling(0.6)),
        ),
        Row::new(
            "commits/s of 10 x 400 B, 16 clients",
            Some(Bound::TimesRival(10.0)),
            Some(Bound::AtLeast(20_000.0)),
        ),
    ];
    let template = scratch.path().join("template.fs");
    datafile::write(&template, 0..OBJECTS_LOADED, RECORD_BYTES)?;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let figures =
            measure_server(&rival, &template, options.encoding, time).context("the stock server")?;
        rows.iter_mut().zip(figures.all()).for_each(|(row, figure)| row.rival.push(figure));
        if let Some(ours) = &ours {
            let figures = measure_server(ours, &template, options.encoding, time).context("Standby")?;
            rows.iter_mut().zip(figures.all()).for_each(|(row, figure)| row.ours.push(figure));
        }
        let figures = measure_machine(scratch.path(), options.encoding, time).context("the machine")?;
        rows.iter_mut().zip(figures.all()).for_each(|(row, figure)| row.ceiling.push(figure));
    }
    let mut rows = rows.to_vec();
    let objects = options.objects.unwrap_or(if options.quick { 100_000 } else { 1_000_000 });
    if objects > 0 {
        eprintln!("the large database, {objects} objects");
        rows.extend(large_database(&rival, ours.as_ref(), scratch.path(), options.encoding, objects)?);
    }
    report(options, rounds, seconds, objects, &rows)
}

impl Figures {
    fn all(&self) -> [f64; 4] {
        [self.loads_pipelined, self.loads_single, self.commits_one, self.commits_sixteen]
    }
}

fn loads(encoding: Encoding) -> LoadPlan {
    LoadPlan::new(encoding, (0..OBJECTS_LOADED).map(Oid::new), RECORD_BYTES)
}

fn measure_server(product: &Product, template: &Path, encoding: Encoding, time: Duration) -> Result<Figures> {
    let folder = tempfile::tempdir_in(template.parent().context("the template lies in a folder")?)?;
    let data = folder.path().join("Data.fs");
    std::fs::copy(template, &data)?;
    // A file of which nothing is on the disk yet would be laid out in pieces as it grows, and every sync write more.
    std::fs::File::open(&data)?.sync_all()?;
    let mut running = Setup::new(product.clone(), &data, encoding).start()?;
    let (address, plan) = (running.address, loads(encoding));
    let figures = on_one_thread(async {
        // Warm: every object was read once, every code path taken.
        loads_per_second(registered(address, 1).await?, &plan, 16, time / 4).await?;
        Ok(Figures {
            loads_pipelined: loads_per_second(registered(address, 4).await?, &plan, 16, time).await?,
            loads_single: loads_per_second(registered(address, 1).await?, &plan, 1, time).await?,
            commits_one: commits_per_second(address, 1, 1, time).await?,
            commits_sixteen: commits_per_second(address, 16, 2, time).await?,
        })
    })?;
    running.server.stop()?;
    Ok(figures)
}

/// The bare server, and bare appends: of one transaction for the single client, of sixteen at a time for sixteen, as
/// a perfect group commit would do.
fn measure_machine(folder: &Path, encoding: Encoding, time: Duration) -> Result<Figures> {
    let address = ceiling::bare_server(encoding, &record(RECORD_BYTES, 0))?;
    let plan = loads(encoding);
    let (loads_pipelined, loads_single) = on_one_thread(async {
        loads_per_second(plain(address, 1).await?, &plan, 16, time / 4).await?;
        Ok((
            loads_per_second(plain(address, 4).await?, &plan, 16, time).await?,
            loads_per_second(plain(address, 1).await?, &plan, 1, time).await?,
        ))
    })?;
    let bytes = datafile::transaction_bytes(OBJECTS_PER_COMMIT, RECORD_BYTES);
    let commits_one = ceiling::bare_appends(folder, bytes, time)?;
    let commits_sixteen = 16.0 * ceiling::bare_appends(folder, 16 * bytes, time)?;
    Ok(Figures { loads_pipelined, loads_single, commits_one, commits_sixteen })
}

fn large_database(
    rival: &Product,
    ours: Option<&Product>,
    folder: &Path,
    encoding: Encoding,
    objects: u64,
) -> Result<Vec<Row>> {
    let mut rows = vec![
        Row::new("large database: first indexing, s", None, None),
        Row::new("large database: opening after a clean stop, s", Some(Bound::AtMost(0.5)), None),
        Row::new("large database: resident when opened, MB", None, None),
        Row::new("large database: resident when warm, MB", Some(Bound::AtMost(150.0)), None),
    ];
    for (product, is_ours) in [(Some(rival), false), (ours, true)] {
        let Some(product) = product else { continue };
        let own = tempfile::tempdir_in(folder)?;
        let large = memory::large_database(product, own.path(), encoding, objects)?;
        let figures = [
            large.first_open.as_secs_f64(),
            large.open.as_secs_f64(),
            large.resident_opened as f64 / 1e6,
            large.resident_warm as f64 / 1e6,
        ];
        for (row, figure) in rows.iter_mut().zip(figures) {
            if is_ours { row.ours.push(figure) } else { row.rival.push(figure) }
        }
    }
    Ok(rows)
}

fn report(options: &Options, rounds: usize, seconds: f64, objects: u64, rows: &[Row]) -> Result<bool> {
    let encoding = encoding_name(options.encoding);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "ZEO over {encoding} on {processors} processors, medians of {rounds} rounds of {seconds} s; large \
         database: {objects} objects\n\
         rival: stock runzeo; ceiling: a bare server with ready-made frames, bare append + fdatasync (16 clients: \
         of 16 transactions at a time)\n"
    );
    println!("{}", table::text(rows));
    if let Some(path) = &options.json {
        let all = json!({
            "encoding": encoding, "processors": processors, "rounds": rounds, "seconds": seconds,
            "large_database_objects": objects, "rows": table::json(rows),
        });
        std::fs::write(path, format!("{all:#}\n"))?;
    }
    Ok(!rows.iter().any(Row::missed))
}
