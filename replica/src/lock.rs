use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::OpenError;
use crate::world::fs::{File, TryLockError};

/// The lock that ZODB's FileStorage takes (`zc.lockfile`): an exclusive `flock` on `Data.fs.lock`, which names
/// its holder's process id: a space, the number, a newline. The file stays when the lock is given back.
#[derive(Debug)]
pub(crate) struct LogLock {
    file: File,
}

impl LogLock {
    /// Takes the lock for a log, or says at once that somebody has it.
    pub(crate) fn take(log: &Path) -> Result<Self, OpenError> {
        let path = path_of(log);
        let failed = |what| {
            let path = path.clone();
            move |source| OpenError::Io { what, path, source }
        };
        // Not truncated: until the lock is held, what it says is another's.
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("opening"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = holder(&mut file);
                return Err(OpenError::Locked { path, pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed("locking")(error)),
        }
        sign(&mut file).map_err(failed("writing"))?;
        Ok(Self { file })
    }

    /// Whether somebody has the lock for a log just now.
    pub(crate) fn is_taken(log: &Path) -> io::Result<bool> {
        let file = match File::open(path_of(log)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for LogLock {
    fn drop(&mut self) {
        // Closing would do, unless a process that was forked meanwhile has the file open too.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the log's lock could not be given back");
        }
    }
}

fn path_of(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn sign(file: &mut File) -> io::Result<()> {
    let content = format!(" {}\n", std::process::id());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(content.as_bytes())?;
    file.set_len(content.len() as u64)
}

fn holder(file: &mut File) -> Option<String> {
    let mut content = Vec::new();
    Read::take(file, 64).read_to_end(&mut content).ok()?;
    let content = String::from_utf8_lossy(&content);
    content.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_has_the_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("Data.fs");
        std::fs::write(path_of(&log), " 1234567890 and more\n").expect("an old lock file");
        let lock = LogLock::take(&log).expect("nobody has it");
        let content = std::fs::read_to_string(path_of(&log)).expect("the file");
        assert_eq!(content, format!(" {}\n", std::process::id()));

        let error = LogLock::take(&log).expect_err("it is taken");
        assert!(error.to_string().contains(&format!("locked by process {}", std::process::id())), "{error}");
        drop(lock);
        LogLock::take(&log).expect("it is free again");
    }
}
