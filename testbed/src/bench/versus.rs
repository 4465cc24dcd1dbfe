//! What the benchmarks have in common that hold Standby against the stock server.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use zeo_proto::Encoding;

use super::RunOptions;
use super::table::{self, Row};
use crate::place;
use crate::server::{Product, encoding_name};

/// Which servers are measured, and how often.
#[derive(Args, Debug, Clone)]
pub struct VersusOptions {
    /// Measure only the stock server and the machine
    #[arg(long, conflicts_with = "standby")]
    no_standby: bool,
    /// A Python with stock ZEO [default: $STANDBY_PYTHON, else target/venv/bin/python]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// What the servers speak
    #[arg(long, value_parser = parse_encoding, default_value = "msgpack")]
    pub(super) encoding: Encoding,
    /// Rounds, of which the median counts [default: 5, with --quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Short and rough
    #[arg(long)]
    pub(super) quick: bool,
    #[command(flatten)]
    pub(super) run: RunOptions,
}

fn parse_encoding(name: &str) -> Result<Encoding, String> {
    [Encoding::Pickle, Encoding::Msgpack]
        .into_iter()
        .find(|encoding| encoding_name(*encoding) == name)
        .ok_or_else(|| "it is pickle or msgpack".to_owned())
}

impl VersusOptions {
    /// The stock server.
    pub(super) fn rival(&self) -> Result<Product> {
        Ok(Product::Runzeo(self.python.clone().map_or_else(place::python, Ok)?))
    }

    /// Standby, if it is to be measured.
    pub(super) fn ours(&self) -> Result<Option<Product>> {
        let ours = || Ok(Product::Standby(self.run.standby()?));
        if self.no_standby { Ok(None) } else { ours().map(Some) }
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Measures each of the servers in every round, each in a folder of its own. `measure` gives a figure for each row.
    pub(super) fn measure_servers(
        &self,
        folder: &Path,
        rows: &mut [Row],
        mut measure: impl FnMut(&Product, &Path) -> Result<Vec<f64>>,
        mut machine: impl FnMut(&Path) -> Result<Vec<Option<f64>>>,
    ) -> Result<()> {
        let (rival, ours) = (self.rival()?, self.ours()?);
        let rounds = self.rounds();
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            let own = tempfile::tempdir_in(folder)?;
            let figures = measure(&rival, own.path()).map_err(|error| error.context("the stock server"))?;
            rows.iter_mut().zip(figures).for_each(|(row, figure)| row.rival.push(figure));
            if let Some(ours) = &ours {
                let own = tempfile::tempdir_in(folder)?;
                let figures = measure(ours, own.path()).map_err(|error| error.context("Standby"))?;
                rows.iter_mut().zip(figures).for_each(|(row, figure)| row.ours.push(figure));
            }
            let figures = machine(folder).map_err(|error| error.context("the machine"))?;
            rows.iter_mut().zip(figures).for_each(|(row, figure)| row.ceiling.extend(figure));
        }
        Ok(())
    }

    /// Prints the result and writes it to the file that was asked for. Gives false when a target was missed.
    pub(super) fn report(&self, what: &str, ceiling: &str, rows: &[Row]) -> Result<bool> {
        let (encoding, rounds) = (encoding_name(self.encoding), self.rounds());
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        println!("{what}, over {encoding} on {processors} processors, medians of {rounds} rounds");
        println!("rival: stock runzeo; ceiling: {ceiling}\n");
        println!("{}", table::text(rows));
        self.run.record(&json!({
            "what": what, "encoding": encoding, "processors": processors, "rounds": rounds,
            "rows": table::json(rows),
        }))?;
        Ok(!rows.iter().any(Row::missed))
    }
}
