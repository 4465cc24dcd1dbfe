//! Scenarios: text files that say what happens to a cluster under load, and what must hold at the end.
//!
//! The language is told in `testbed/scenarios/README.md`. A scenario is read ([`parse`]: pure), set up on what it [`Needs`] of the
//! machine, run step by step, and judged from what its clients were told and what the nodes have in the end. What was done is
//! written down, with the seed of what was left to chance, so that a run can be repeated.

mod check;
mod clients;
mod command;
mod conclude;
mod conditions;
mod header;
mod language;
mod mistake;
mod needs;
mod parse;
mod record;
mod run;
mod stage;
mod steps;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use command::{Options, run};
pub use language::*;
pub use mistake::Mistake;
pub use needs::Needs;
pub use parse::parse;
pub use run::{Outcome, Run};

use crate::place;

/// The files of the scenarios that come with the testbed, in the order of their names.
pub fn files() -> Result<Vec<PathBuf>> {
    let folder = place::repository().join("testbed/scenarios");
    let entries = folder.read_dir().with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    files.sort();
    Ok(files)
}

/// Reads a scenario's file.
///
/// # Errors
/// It cannot be read, or has a [`Mistake`].
pub fn read(path: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(parse(&path.display().to_string(), &text)?)
}
