//! `standby pack`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use replica::{OpenOptions, PackOptions, PackReport, Storage, Tid};

use super::moment::moment;
use super::terminal::TerminalProgress;

/// `standby pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// The Data.fs to pack; no server may have it open (a running server packs on request: `zeopack`, or a client's
    /// `db.pack()`)
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Where its blobs are, so that those of removed revisions are removed
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,

    /// Keep the history of the last DAYS days
    #[arg(long, value_name = "DAYS", default_value_t = 0.0, conflicts_with = "before")]
    days: f64,

    /// Pack to this moment: seconds since 1970, or a date and time such as 2026-11-21T03:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before: Option<SystemTime>,

    /// Keep objects that cannot be reached from the root
    #[arg(long)]
    no_gc: bool,

    /// Do not keep the file as it was as PATH.old
    #[arg(long)]
    no_old: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl PackArgs {
    /// Packs the file and prints what was done.
    pub fn run(&self) -> Result<()> {
        let past = Duration::try_from_secs_f64(self.days * 86_400.0).context("--days")?;
        let until = self.before.unwrap_or_else(|| SystemTime::now() - past);
        let open = OpenOptions { create: false, blob_dir: self.blobs.clone(), ..OpenOptions::default() };
        let path = self.path.display();
        let progress = TerminalProgress::new(!self.json);
        let (storage, _) =
            Storage::open(&self.path, &open, &progress).with_context(|| format!("cannot open {path}"))?;
        let options = PackOptions { gc: !self.no_gc, keep_old: !self.no_old };
        let packed = storage.pack(Tid::from_time(until), options, &progress);
        progress.clear();
        storage.close().with_context(|| format!("closing {path}"))?;
        let report = packed.with_context(|| format!("{path} was not packed"))?;
        if self.json {
            println!("{}", self.json(&report));
            return Ok(());
        }
        let Some(packed) = &report.packed else {
            println!("{path}: nothing to pack: it is empty, or packed to that time already");
            return Ok(());
        };
        println!(
            "{path}: packed from {} to {} bytes, from {} to {} objects; {} records and {} blobs removed, in {:.1} s",
            packed.bytes_before,
            packed.bytes_after,
            packed.objects_before,
            packed.objects_after,
            packed.records_dropped,
            packed.blobs_removed,
            report.took.as_secs_f64()
        );
        if let Some(unfinished) = &packed.unfinished {
            eprintln!("warning: it is packed; left for the next pack or start of a server: {unfinished}");
        }
        Ok(())
    }

    fn json(&self, report: &PackReport) -> serde_json::Value {
        let packed = report.packed.as_ref().map(|packed| {
            serde_json::json!({
                "bytes_before": packed.bytes_before, "bytes_after": packed.bytes_after,
                "objects_before": packed.objects_before, "objects_after": packed.objects_after,
                "records_removed": packed.records_dropped, "blobs_removed": packed.blobs_removed,
                "unfinished": packed.unfinished,
            })
        });
        serde_json::json!({ "path": self.path, "seconds": report.took.as_secs_f64(), "packed": packed })
    }
}
