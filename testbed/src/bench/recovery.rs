//! `standby-testbed bench recovery`: how soon a server serves again after `kill -9`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use zeo_proto::client::Connection;

use super::large::LargeOptions;
use super::table::{Bound, Row};
use super::throughput::{commits_per_second, on_one_thread};

/// Clients that commit until the server is killed.
const CLIENTS: usize = 4;

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Seconds of commits before the server is killed
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[command(flatten)]
    large: LargeOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A server does not start, or answers with an exception.
pub fn run(options: &Options) -> Result<bool> {
    let seconds = options.seconds;
    let mut rows = [
        Row::new("from the start after kill -9 to ready, s", Some(Bound::AtMost(1.0)), None),
        Row::new("... to the first commit, s", None, None),
        Row::new("transactions committed before it was killed", None, None),
    ];
    options.large.measure(
        &mut rows,
        |large| {
            let (mut running, _) = large.open()?;
            running.server.stop()?; // the index of what is there so far is whole
            let (mut running, _) = large.open()?;
            let time = Duration::from_secs_f64(seconds);
            let rate = on_one_thread(commits_per_second(running.address, CLIENTS, 1, time))?;
            running.server.kill()?;
            let began = Instant::now();
            let (mut running, ready) = large.open()?;
            on_one_thread(async {
                let connection = Connection::open(running.address).await.context("it lets nobody in")?;
                drop(connection);
                commits_per_second(running.address, 1, 2, Duration::ZERO).await
            })?;
            let committed = began.elapsed();
            running.server.stop()?;
            Ok(vec![ready.as_secs_f64(), committed.as_secs_f64(), (rate * seconds).round()])
        },
        |_| Ok(Vec::new()),
    )?;
    let what = format!(", and a server that is killed while {CLIENTS} clients commit");
    options.large.report(&what, "none", &rows)
}
