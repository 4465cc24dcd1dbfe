//! `standby-testbed bench zeo`: Standby, the stock server and the machine, in turn, with one driver.
//!
//! Every round starts both servers anew, each on its own copy of the same file, and as their users start them: both
//! write durably before they acknowledge. The driver runs on one thread. Medians of the rounds are compared.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use zeo_proto::{Encoding, Oid};

use super::ceiling;
use super::table::{Bound, Row};
use super::throughput::{
    OBJECTS_LOADED, OBJECTS_PER_COMMIT, RECORD_BYTES, commits_per_second, loads_per_second, on_one_thread,
    plain, registered,
};
use super::versus::VersusOptions;
use crate::datafile;
use crate::driver::{LoadPlan, record};
use crate::server::{Product, Setup};

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Seconds of each measurement [default: 3, with --quick 0.5]
    #[arg(long)]
    seconds: Option<f64>,
    #[command(flatten)]
    versus: VersusOptions,
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
    let Options { seconds, versus } = options;
    let seconds = seconds.unwrap_or(if versus.quick { 0.5 } else { 3.0 });
    let time = Duration::from_secs_f64(seconds);
    let folder = tempfile::tempdir_in(versus.run.folder()?)?;
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
    let template = folder.path().join("template.fs");
    datafile::write(&template, 0..OBJECTS_LOADED, RECORD_BYTES)?;
    versus.measure_servers(
        folder.path(),
        &mut rows,
        |product, own| Ok(measure_server(product, &template, own, versus.encoding, time)?.all().to_vec()),
        |folder| Ok(measure_machine(folder, versus.encoding, time)?.all().map(Some).to_vec()),
    )?;
    versus.report(
        &format!("ZEO, {seconds} s each"),
        "a bare server with ready-made frames, bare append + fdatasync (16 clients: of 16 transactions at a time)",
        &rows,
    )
}

impl Figures {
    fn all(&self) -> [f64; 4] {
        [self.loads_pipelined, self.loads_single, self.commits_one, self.commits_sixteen]
    }
}

fn loads(encoding: Encoding) -> LoadPlan {
    LoadPlan::new(encoding, (0..OBJECTS_LOADED).map(Oid::new), RECORD_BYTES)
}

fn measure_server(
    product: &Product,
    template: &Path,
    folder: &Path,
    encoding: Encoding,
    time: Duration,
) -> Result<Figures> {
    let data = folder.join("Data.fs");
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
