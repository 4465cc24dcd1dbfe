use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

/// What was done and when, written down as it happens.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
    began: Instant,
    is_shown: bool,
}

impl Record {
    /// The file's name in the folder of a run.
    pub(super) const NAME: &str = "what-happened.txt";

    /// A record in this folder, which begins with these lines. Shown on standard output, too, where that is wanted.
    pub(super) fn new(folder: &Path, head: &str, is_shown: bool) -> Result<Self> {
        let mut file = File::create(folder.join(Self::NAME))?;
        writeln!(file, "{head}")?;
        Ok(Self { file, began: Instant::now(), is_shown })
    }

    /// Notes something that has happened just now.
    pub(super) fn note(&mut self, what: &str) -> Result<()> {
        let line = format!("{:>8.3} s  {what}", self.began.elapsed().as_secs_f64());
        if self.is_shown {
            println!("{line}");
        }
        Ok(writeln!(self.file, "{line}")?)
    }
}
