use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};

use super::clients::Clients;
use super::conclude::conclude;
use super::language::Scenario;
use super::record::Record;
use super::stage::{Facilities, Stage};
use super::steps::Actor;
use crate::place;
use crate::seed::Seed;

/// Reasons of more lines are logs.
const LINES_MAX: usize = 25;

/// One run of a scenario.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The scenario's file, whose name is that of the run.
    pub file: &'a Path,
    /// What it says.
    pub scenario: &'a Scenario,
    /// What is left to chance depends on it.
    pub seed: u64,
    /// What happens is shown on standard output, too.
    pub is_shown: bool,
    /// Where the logs and the record go also when all is well.
    pub keep: Option<&'a Path>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Passed(Duration),
    /// The machine does not allow what it needs.
    Skipped(String),
}

impl Run<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// Something did not hold, or could not be done: the error says what, where the logs are, and how to run it again.
    pub fn run(&self) -> Result<Outcome> {
        let mut folder = place::scratch(&format!("scenario-{}", self.name()))?;
        let began = Instant::now();
        let facilities = match Facilities::for_scenario(self.scenario, folder.path()) {
            Ok(facilities) => facilities,
            Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
        };
        let done = self.act(folder.path(), facilities);
        if let Some(keep) = self.keep {
            let kept = keep.join(format!("{}-{}", self.name(), self.seed));
            copy_logs(folder.path(), &kept).with_context(|| kept.display().to_string())?;
        }
        match done {
            Ok(()) => Ok(Outcome::Passed(began.elapsed())),
            Err(error) => {
                folder.disable_cleanup(true);
                let (logs, replay) = (folder.path().display(), self.replay());
                bail!("{}: {}\nlogs: {logs}\nagain: {replay}", self.name(), reason(&error))
            }
        }
    }

    fn name(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The command that runs it again.
    fn replay(&self) -> String {
        let file = self.file.strip_prefix(place::repository()).unwrap_or(self.file);
        format!("cargo run -p standby-testbed -- scenario {} --seed {}", file.display(), self.seed)
    }

    fn act(&self, folder: &Path, facilities: Facilities) -> Result<()> {
        let mut chance = Seed::of(self.seed);
        let head = format!("{}\nseed: {}\nagain: {}\n", self.scenario.about, self.seed, self.replay());
        let mut record = Record::new(folder, &head, self.is_shown)?;
        let stage = Stage::start(self.scenario, folder, facilities)?;
        record.note("all nodes run and are in step")?;
        let clients = Clients::start(self.scenario.clients, &stage, folder, chance.pick(0..u64::MAX))?;
        record.note("all clients are at work")?;
        let mut actor = Actor::new(stage, clients, record, chance);
        let done = self.scenario.steps.iter().try_for_each(|line| actor.step(line));
        let done = done.and_then(|()| conclude(self.scenario, &mut actor, folder));
        let told =
            done.as_ref().map_or_else(|error| format!("FAILED: {}", reason(error)), |()| "passed".to_owned());
        actor.record.note(&told)?;
        done
    }
}

/// Why, without the logs of whole nodes, which are in the folder.
fn reason(error: &Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    causes.filter(|cause| cause.lines().count() <= LINES_MAX).collect::<Vec<_>>().join(": ")
}

/// Copies what the nodes and clients have written down, and how they were configured.
fn copy_logs(folder: &Path, kept: &Path) -> Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(within) = folders.pop() {
        for entry in folder.join(&within).read_dir()? {
            let (entry, into) = (entry?, kept.join(&within));
            let path = within.join(entry.file_name());
            let is_wanted = ["log", "txt", "toml", "history"]
                .iter()
                .any(|ending| path.extension().is_some_and(|found| found == *ending));
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_wanted {
                std::fs::create_dir_all(&into)?;
                std::fs::copy(entry.path(), kept.join(path))?;
            }
        }
    }
    Ok(())
}
