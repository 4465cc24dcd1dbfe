//! A large database, and servers on it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use zeo_proto::{Encoding, Oid};

use super::table::Row;
use super::throughput::{on_one_thread, registered};
use super::versus::VersusOptions;
use crate::datafile;
use crate::driver::{LoadPlan, drive_loads};
use crate::server::{Product, Running, Setup};

/// Length of the records. Short, so that the file is made of objects; an exception is shorter still.
const RECORD_BYTES: usize = 200;

/// Options of the benchmarks that hold servers of a large database against each other.
#[derive(Args, Debug, Clone)]
pub struct LargeOptions {
    /// Objects in the database [default: 1000000, with --quick 100000]
    #[arg(long)]
    objects: Option<u64>,
    #[command(flatten)]
    versus: VersusOptions,
}

impl LargeOptions {
    pub(super) fn objects(&self) -> u64 {
        self.objects.unwrap_or(if self.versus.quick { 100_000 } else { 1_000_000 })
    }

    /// Measures each server in every round, each with a database of its own. `measure` gives a figure for each row.
    pub(super) fn measure(
        &self,
        rows: &mut [Row],
        mut measure: impl FnMut(&Large) -> Result<Vec<f64>>,
        machine: impl FnMut(&Path) -> Result<Vec<Option<f64>>>,
    ) -> Result<()> {
        let folder = tempfile::tempdir_in(self.versus.run.folder()?)?;
        let measure = |product: &Product, folder: &Path| {
            measure(&Large::make(product, folder, self.versus.encoding, self.objects())?)
        };
        self.versus.measure_servers(folder.path(), rows, measure, machine)
    }

    /// Prints the result, as [`VersusOptions::report`]. `what` was measured with such a database.
    pub(super) fn report(&self, what: &str, ceiling: &str, rows: &[Row]) -> Result<bool> {
        let what = format!("A database of {} objects{what}", self.objects());
        self.versus.report(&what, ceiling, rows)
    }
}

/// A large database in a file, for one server.
pub(super) struct Large {
    setup: Setup,
    objects: u64,
}

impl Large {
    /// Makes it. No server has seen it yet: there is no index.
    fn make(product: &Product, folder: &Path, encoding: Encoding, objects: u64) -> Result<Self> {
        let data = folder.join("large.fs");
        datafile::write(&data, 0..objects, RECORD_BYTES)?;
        std::fs::File::open(&data)?.sync_all()?;
        Ok(Self { setup: Setup::new(product.clone(), &data, encoding), objects })
    }

    /// Starts the server. It, and how long that took until it serves.
    pub(super) fn open(&self) -> Result<(Running, Duration)> {
        let began = Instant::now();
        let running = self.setup.start()?;
        Ok((running, began.elapsed()))
    }

    /// Loads every object once.
    pub(super) fn load_all(&self, running: &Running) -> Result<()> {
        let plan = LoadPlan::new(self.setup.encoding, (0..self.objects).map(Oid::new), RECORD_BYTES);
        let answered = on_one_thread(async {
            let mut streams = registered(running.address, 1).await?;
            drive_loads(&mut streams[0], &plan, 0, 64, None).await
        })?;
        ensure!(answered >= self.objects, "{answered} of {} objects were read", self.objects);
        Ok(())
    }
}
