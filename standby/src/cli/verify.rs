//! `standby verify`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use replica::Progress;

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

/// A line on the terminal that says how far the work is; nothing where standard error is no terminal.
struct TerminalProgress;

impl Progress for TerminalProgress {
    fn indexing(&self, done_bytes: u64, total_bytes: u64) {
        if std::io::stderr().is_terminal() {
            let percent = done_bytes * 100 / total_bytes.max(1);
            let end = if done_bytes >= total_bytes { "\n" } else { "" };
            eprint!("\rreading {percent:3} % of {total_bytes} bytes{end}");
        }
    }

    fn note(&self, message: &str) {
        eprintln!("{message}");
    }
}
