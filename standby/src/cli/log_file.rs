//! The log in a file: opened again at SIGUSR2, as log rotation expects of a ZEO server, and rotated by size on
//! request.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::zeo_conf::Rotation;

/// The log file of this process.
static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

/// Opens the log file of this process, to write at its end.
pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<LogFile> {
    let file = LogFile::open(path, rotation)?;
    let _ = LOG_FILE.set(file.clone());
    Ok(file)
}

/// Opens the log file again by its name, if there is one: it may have been renamed.
pub fn reopen() {
    if let Some(log) = LOG_FILE.get() {
        match log.reopen() {
            Ok(()) => tracing::info!("the log file was opened again"),
            Err(error) => {
                tracing::error!(%error, "the log file cannot be opened again: the log goes on in the old one")
            }
        }
    }
}

/// A file at whose end lines are written. Clones share it.
#[derive(Clone)]
pub struct LogFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    rotation: Option<Rotation>,
    current: Mutex<Current>,
}

struct Current {
    file: File,
    bytes: u64,
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl LogFile {
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let current = Mutex::new(Current::open(path)?);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), rotation, current })))
    }

    fn reopen(&self) -> io::Result<()> {
        let opened = Current::open(&self.0.path)?;
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Inner { path, rotation, current } = &*self.0;
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rotation) = rotation
            && current.bytes > 0
            && current.bytes + line.len() as u64 > rotation.bytes_max
        {
            // Where it fails, the log grows on: lines are worth more than the bound.
            if rotate(path, rotation.old_files).is_ok()
                && let Ok(opened) = Current::open(path)
            {
                *current = opened;
            }
        }
        let written = current.file.write(line)?;
        current.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `log` becomes `log.1`, `log.1` becomes `log.2`, and so on; the last one is overwritten.
fn rotate(path: &Path, old_files: usize) -> io::Result<()> {
    let old = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // Only as many as there are: an `old-files` of millions costs nothing.
    let kept = (1..old_files).take_while(|number| old(*number).exists()).count();
    for number in (1..=kept).rev() {
        fs::rename(old(number), old(number + 1))?;
    }
    fs::rename(path, old(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_log_goes_on_in_a_new_file_once_it_is_opened_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, renamed) = (directory.path().join("log"), directory.path().join("renamed"));
        fs::write(&path, "earlier\n").expect("an earlier log");
        let mut log = LogFile::open(&path, None).expect("opened");
        log.write_all(b"first\n").expect("written");
        fs::rename(&path, &renamed).expect("renamed");
        log.write_all(b"second\n").expect("written");
        log.reopen().expect("opened again");
        log.write_all(b"third\n").expect("written");
        assert_eq!(fs::read_to_string(&renamed).expect("there"), "earlier\nfirst\nsecond\n");
        assert_eq!(fs::read_to_string(&path).expect("there"), "third\n");
    }

    #[test]
    fn a_log_that_grows_too_large_is_rotated() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut log = LogFile::open(&path, Some(Rotation { bytes_max: 10, old_files: 2 })).expect("opened");
        for line in ["one\n", "two\n", "three\n", "a line that is longer\n", "five\n", "six\n"] {
            log.write_all(line.as_bytes()).expect("written");
        }
        let content = |name: &str| fs::read_to_string(directory.path().join(name)).ok();
        assert_eq!(content("log").as_deref(), Some("five\nsix\n"));
        assert_eq!(content("log.1").as_deref(), Some("a line that is longer\n"));
        assert_eq!(content("log.2").as_deref(), Some("three\n"));
        assert_eq!(content("log.3"), None);
    }
}
