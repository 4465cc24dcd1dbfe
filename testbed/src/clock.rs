//! A wall clock of its own for a process, which can be set while that runs ([`preload`]). Its monotonic clocks
//! stay right.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::preload;

/// A clock.
#[derive(Clone, Debug)]
pub struct Clock {
    library: PathBuf,
    setting: PathBuf,
}

impl Clock {
    /// A clock that is right, with its files in this folder. Each clock needs a name of its own.
    ///
    /// # Errors
    /// There is no C compiler; the error says so.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let library = preload::library(folder, "clock", include_str!("preload/ahead.c"))?;
        let clock = Self { library, setting: folder.join(format!("clock-of-{name}")) };
        clock.set(0)?;
        Ok(clock)
    }

    /// From now on it is so many milliseconds ahead of the machine's; with a negative number, behind.
    pub fn set(&self, ahead_ms: i64) -> Result<()> {
        // In place, and never shorter: who has it mapped reads it.
        let file = File::options().create(true).write(true).truncate(false).open(&self.setting)?;
        Ok(file.write_all_at(&(ahead_ms * 1000).to_ne_bytes(), 0)?)
    }

    /// What is to be preloaded into a process that goes by it.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// And what is in its environment.
    pub fn variable(&self) -> (&'static str, OsString) {
        ("STANDBY_TESTBED_CLOCK", self.setting.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use anyhow::ensure;

    use super::*;

    fn seconds_told(clock: &Clock) -> Result<i64> {
        let output = Command::new("date")
            .arg("+%s")
            .envs([preload::variable([clock.library()]), clock.variable()])
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }

    #[test]
    fn a_process_goes_by_its_own_clock() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let clock = Clock::new(folder.path(), "a")?;
        for ahead in [0, 3_600, -3_600] {
            clock.set(ahead * 1000)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
            let told = seconds_told(&clock)?;
            ensure!((now + ahead..now + ahead + 30).contains(&told), "{told} at {now}");
        }
        Ok(())
    }
}
