//! `standby dump`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use replica::{Dump, DumpRange, DumpedRecord, Oid, Tid, TransactionHeader};
use serde_json::json;

use super::moment::{object, time_of, transaction};
use super::output;
use super::terminal::TerminalProgress;

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
            if self.json {
                let records = dump.records().map(|record| record.map(|record| record_json(&record)));
                let records = records.collect::<Result<Vec<_>, _>>()?;
                writeln!(out, "{}", transaction_json(&header, records))?;
            } else {
                writeln!(out, "{}", transaction_line(&header))?;
                for record in dump.records() {
                    writeln!(out, "  {}", record_line(&record?))?;
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

fn status(header: &TransactionHeader) -> &'static str {
    match header.status {
        b'p' => "packed",
        b'u' => "undone",
        _ => "committed",
    }
}

fn transaction_json(header: &TransactionHeader, records: Vec<serde_json::Value>) -> serde_json::Value {
    json!({
        "tid": header.tid.to_string(), "time": time_of(header.tid), "status": status(header),
        "user": String::from_utf8_lossy(&header.user), "description": String::from_utf8_lossy(&header.description),
        "position": header.position, "size": header.length, "records": records,
    })
}

fn record_json(record: &DumpedRecord) -> serde_json::Value {
    json!({
        "oid": record.oid.to_string(), "position": record.position, "size": record.size, "class": record.class,
        "data_tid": record.data_tid.map(|tid| tid.to_string()), "blob": record.is_blob(),
    })
}

/// What people wrote is shown with escapes: it must not steer a terminal.
fn transaction_line(header: &TransactionHeader) -> String {
    let time = time_of(header.tid).unwrap_or_else(|| "(no time)".to_owned());
    format!(
        "{} {time} {} at {}, {} bytes, user {:?}, {:?}",
        header.tid,
        status(header),
        header.position,
        header.length,
        String::from_utf8_lossy(&header.user),
        String::from_utf8_lossy(&header.description),
    )
}

fn record_line(record: &DumpedRecord) -> String {
    let oid = record.oid.to_string();
    let class = record
        .class
        .as_deref()
        .map_or_else(|| "(no class)".to_owned(), |class| class.escape_debug().to_string());
    let what = match record.size {
        Some(size) => format!("{size:>9} bytes  {class}"),
        None => "  deleted, or its creation undone".to_owned(),
    };
    let blob = if record.is_blob() { ", a blob" } else { "" };
    let back = record.data_tid.map_or_else(String::new, |tid| format!(", as in {tid}"));
    format!("{oid:<10} {what}{blob}{back}")
}
