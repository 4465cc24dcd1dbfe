//! `standby-testbed bench startup`: how soon a server serves a large database.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::large::LargeOptions;
use super::table::{Bound, Row};
use crate::datafile;

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A server does not start, or answers with an exception.
pub fn run(large: &LargeOptions) -> Result<bool> {
    let objects = large.objects();
    let mut rows = [
        Row::new("first start, which makes the index, s", Some(Bound::TimesFaster(1.0)), None),
        Row::new("start after a clean stop, s", Some(Bound::AtMost(0.5)), None),
    ];
    large.measure(
        &mut rows,
        |large| {
            let (mut running, first) = large.open()?;
            running.server.stop()?;
            let (mut running, again) = large.open()?;
            running.server.stop()?;
            Ok(vec![first.as_secs_f64(), again.as_secs_f64()])
        },
        |folder| Ok(vec![Some(read_seconds(folder, objects)?), None]),
    )?;
    large.report(": from start to ready", "reading the file once, from memory", &rows)
}

/// How long it takes to read such a file.
fn read_seconds(folder: &Path, objects: u64) -> Result<f64> {
    let path = folder.join("read.fs");
    datafile::write(&path, 0..objects, 200)?;
    let mut file = std::fs::File::open(&path)?;
    let began = Instant::now();
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece)? > 0 {}
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(seconds)
}
