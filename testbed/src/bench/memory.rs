//! `standby-testbed bench memory`: what a large database and many clients cost in memory.

use anyhow::Result;
use clap::Args;

use super::large::LargeOptions;
use super::table::{Bound, Row};
use super::throughput::{on_one_thread, registered};

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Clients that are connected and do nothing
    #[arg(long, default_value_t = 500)]
    clients: usize,
    #[command(flatten)]
    large: LargeOptions,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A server does not start, or answers with an exception.
pub fn run(options: &Options) -> Result<bool> {
    let clients = options.clients;
    let mut rows = [
        Row::new("resident when opened, MB", None, None),
        Row::new("resident when every object was loaded, MB", Some(Bound::AtMost(150.0)), None),
        Row::new("a client that is connected and does nothing, kB", Some(Bound::TimesFaster(1.0)), None),
    ];
    options.large.measure(
        &mut rows,
        |large| {
            large.open()?.0.server.stop()?;
            let (mut running, _) = large.open()?;
            let opened = running.server.resident_bytes()?;
            // Before anything else: what was freed meanwhile would be taken for them.
            let crowded = on_one_thread(async {
                let _connected = registered(running.address, clients).await?;
                running.server.resident_bytes()
            })?;
            let each = crowded.saturating_sub(opened) as f64 / clients as f64;
            large.load_all(&running)?;
            let warm = running.server.resident_bytes()?;
            running.server.stop()?;
            Ok(vec![opened as f64 / 1e6, warm as f64 / 1e6, each / 1e3])
        },
        |_| Ok(Vec::new()),
    )?;
    options.large.report(&format!(", and {clients} clients"), "none", &rows)
}
