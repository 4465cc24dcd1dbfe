//! `standby verify`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

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
    /// Checks the file, prints what was found; an error if it is damaged.
    pub fn run(&self) -> Result<()> {
        let report = replica::verify(&self.path, &TerminalProgress)
            .with_context(|| format!("cannot check {}", self.path.display()))?;
        if self.json {
            let problems: Vec<_> = report
                .problems
                .iter()
                .map(|problem| serde_json::json!({"position": problem.position, "what": problem.what}))
                .collect();
            let json = serde_json::json!({
                "path": self.path, "transactions": report.transactions, "records": report.records,
                "objects": report.objects, "last_tid": report.last_tid.to_string(),
                "checksum": report.checksum.to_string(), "problems": problems,
            });
            println!("{json}");
        } else {
            println!(
                "{}: {} transactions, {} records, {} objects, last tid {}, checksum {}",
                self.path.display(),
                report.transactions,
                report.records,
                report.objects,
                report.last_tid,
                report.checksum
            );
            for problem in &report.problems {
                println!("at {}: {}", problem.position, problem.what);
            }
        }
        match report.problems.len() {
            0 => Ok(()),
            count => bail!("{} is damaged: {count} problem(s)", self.path.display()),
        }
    }
}
