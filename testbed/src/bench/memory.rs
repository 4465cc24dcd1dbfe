//! What a large database costs: the time to index it and to open it, and the memory when every object was read.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use zeo_proto::{Encoding, Oid};

use super::throughput::{on_one_thread, registered};
use crate::datafile;
use crate::driver::{LoadPlan, drive_loads};
use crate::server::{Product, Setup};

/// Length of the records. Short, so that the file is made of objects; an exception is shorter still.
const RECORD_BYTES: usize = 200;

/// One server's figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct LargeDatabase {
    /// From start to ready with no index.
    pub(super) first_open: Duration,
    /// From start to ready after a clean stop.
    pub(super) open: Duration,
    /// Resident when ready.
    pub(super) resident_opened: u64,
    /// Resident after every object was loaded once.
    pub(super) resident_warm: u64,
}

/// Makes a database of `objects` objects in `folder` and measures `product` on it.
pub(super) fn large_database(
    product: &Product,
    folder: &Path,
    encoding: Encoding,
    objects: u64,
) -> Result<LargeDatabase> {
    let data = folder.join("large.fs");
    datafile::write(&data, 0..objects, RECORD_BYTES)?;
    let setup = Setup::new(product.clone(), &data, encoding);

    let began = Instant::now();
    let mut running = setup.start()?;
    let first_open = began.elapsed();
    running.server.stop()?;

    let began = Instant::now();
    let mut running = setup.start()?;
    let open = began.elapsed();
    let resident_opened = running.server.resident_bytes()?;

    let plan = LoadPlan::new(encoding, (0..objects).map(Oid::new), RECORD_BYTES);
    let answered = on_one_thread(async {
        let mut streams = registered(running.address, 1).await?;
        drive_loads(&mut streams[0], &plan, 0, 64, None).await
    })?;
    ensure!(answered >= objects, "{answered} of {objects} objects were read");
    let resident_warm = running.server.resident_bytes()?;
    running.server.stop()?;
    Ok(LargeDatabase { first_open, open, resident_opened, resident_warm })
}
