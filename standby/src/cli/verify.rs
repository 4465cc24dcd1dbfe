//! `standby verify`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use replica::{IndexComparison, VerifyReport};
use serde_json::json;

use super::output;
use super::terminal::TerminalProgress;

/// `standby verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The Data.fs to check; it may be in use
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Checks the file, and prints what was found.
    pub fn run(&self) -> Result<ExitCode> {
        let path = self.path.display();
        let progress = TerminalProgress::new(!self.json);
        let checked = replica::verify(&self.path, &progress);
        progress.clear();
        let report = checked.with_context(|| format!("cannot check {path}"))?;
        output::print(|out| {
            if self.json {
                writeln!(out, "{}", self.json(&report))?;
            } else {
                self.text(&report, out)?;
            }
            Ok(())
        })?;
        if !report.problems.is_empty() {
            eprintln!("standby: {path} is not whole: {} problem(s)", report.problems.len());
        }
        Ok(output::exit_code(report.problems.is_empty()))
    }

    fn json(&self, report: &VerifyReport) -> serde_json::Value {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|problem| json!({"position": problem.position, "what": problem.what}))
            .collect();
        let index = match &report.index {
            IndexComparison::Compared { up_to } => json!({"compared_up_to": up_to.to_string()}),
            IndexComparison::Skipped { reason } => json!({"skipped": reason}),
        };
        json!({
            "path": self.path, "whole": problems.is_empty(), "transactions": report.transactions,
            "records": report.records, "objects": report.objects, "last_tid": report.last_tid.to_string(),
            "checksum": report.checksum.to_string(), "verified_bytes": report.verified_bytes,
            "unfinished_bytes": report.unfinished_bytes, "index": index, "problems": problems,
        })
    }

    fn text(&self, report: &VerifyReport, out: &mut dyn Write) -> Result<()> {
        writeln!(
            out,
            "{}: {} transactions, {} records, {} objects, last tid {}, checksum {}",
            self.path.display(),
            report.transactions,
            report.records,
            report.objects,
            report.last_tid,
            report.checksum
        )?;
        match &report.index {
            IndexComparison::Compared { up_to } => writeln!(out, "the index was compared up to {up_to}")?,
            IndexComparison::Skipped { reason } => writeln!(out, "the index was not compared: {reason}")?,
        }
        for problem in &report.problems {
            writeln!(out, "at {}: {}", problem.position, problem.what)?;
        }
        Ok(())
    }
}
