//! `standby dump`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use replica::{Dump, DumpRange, Oid, Tid};

use super::moment::{object, transaction};
use super::output;
use super::terminal::TerminalProgress;
use crate::listing;

/// `standby dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The Data.fs to list; it may be in use
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Begin with this transaction: a tid (16 hexadecimal digits) or a time such as 2026-11-21T03:00:00Z
    #[arg(long, value_name = "TID|TIME", value_parser = transaction)]
    from: Option<Tid>,

    /// End with this transaction, or at this time
    #[arg(long, value_name = "TID|TIME", value_parser = transaction)]
    to: Option<Tid>,

    /// Only what concerns this object, in hexadecimal
    #[arg(long, value_name = "OID", value_parser = object)]
    oid: Option<Oid>,

    /// Only the last N transactions of those
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    last: Option<u64>,

    /// Print one JSON object a line, for each transaction, with its records
    #[arg(long)]
    json: bool,
}

impl DumpArgs {
    /// Lists the transactions.
    pub fn run(&self) -> Result<ExitCode> {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            ensure!(from <= to, "--from {from} comes after --to {to}");
        }
        // On a terminal, the listing itself shows how far it is.
        let progress = TerminalProgress::new(!self.json && !std::io::stdout().is_terminal());
        let last = self.last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
        let range = DumpRange { from: self.from, to: self.to, oid: self.oid, last };
        let cannot = || format!("cannot list {}", self.path.display());
        let mut dump = Dump::open(&self.path, range, &progress).with_context(cannot)?;
        let listed = output::print(|out| self.list(&mut dump, out)).with_context(cannot)?;
        progress.clear();
        let Some(Listed { transactions, damage }) = listed else { return Ok(ExitCode::SUCCESS) };
        let path = self.path.display();
        let unfinished = dump.unfinished_bytes();
        if let Some(damage) = &damage {
            eprintln!(
                "standby: {path}: {damage}; what follows was not listed, `standby verify` shows all of the damage"
            );
        } else if unfinished > 0 && !dump.is_in_use() {
            eprintln!(
                "standby: {path}: the last {unfinished} bytes are an unfinished transaction, which a server saves \
                 and cuts off when it starts"
            );
        } else if transactions == 0 && !self.json {
            eprintln!("{path}: no such transactions");
        }
        Ok(output::exit_code(damage.is_none() && (unfinished == 0 || dump.is_in_use())))
    }

    fn list(&self, dump: &mut Dump<'_>, out: &mut dyn Write) -> Result<Listed> {
        let mut transactions = 0;
        loop {
            let header = match dump.next_transaction() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(Listed { transactions, damage: None }),
                Err(error @ replica::ReadError::Corrupt { .. }) => {
                    return Ok(Listed { transactions, damage: Some(error.to_string()) });
                }
                Err(error) => return Err(error.into()),
            };
            transactions += 1;
            let mut listed = listing::transaction(&header);
            if self.json {
                let records = dump.records().map(|record| record.map(|record| listing::record(&record)));
                listed.records = records.collect::<Result<_, _>>()?;
                writeln!(out, "{}", serde_json::to_string(&listed)?)?;
            } else {
                writeln!(out, "{}", listed.line())?;
                for record in dump.records() {
                    writeln!(out, "  {}", listing::record(&record?).line())?;
                }
            }
        }
    }
}

struct Listed {
    transactions: u64,
    /// Where and why it ended too early.
    damage: Option<String>,
}
