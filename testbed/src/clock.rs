//! A wall clock of its own for a process, which can be set while that runs. Its monotonic clocks stay right.
//!
//! That is 30 lines of C (`clock/ahead.c`) between the process and the system's `clock_gettime`, made with the C compiler
//! that Rust links with, and preloaded.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        if !library.exists() {
            std::fs::write(&source, include_str!("clock/ahead.c"))?;
            let mut compile = Command::new("cc");
            compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source);
            let output = compile.output().context("cc does not start")?;
            ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
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

    /// What is in the environment of a process that goes by it.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.library.clone().into()), ("STANDBY_TESTBED_CLOCK", self.setting.clone().into())]
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn seconds_told(clock: &Clock) -> Result<i64> {
        let output = Command::new("date").arg("+%s").envs(clock.environment()).output()?;
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
