//! The file with the process id, which a `zeo.conf` can ask for.

use std::fs;
use std::path::PathBuf;

use tracing::{error, warn};

/// A file with this process's id, which is removed in the end.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, in place of any that is there. A server is not kept from serving if that fails: it is logged.
    pub fn write(path: PathBuf) -> Option<Self> {
        // Removed first: what is there could be a link, or belong to another user.
        let _ = fs::remove_file(&path);
        match fs::write(&path, content()) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                error!(path = %path.display(), %error, "the file with the process id cannot be written");
                None
            }
        }
    }
}

fn content() -> String {
    format!("{}\n", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process's, by now, if it has something else in it.
        if fs::read_to_string(&self.0).is_ok_and(|text| text == content())
            && let Err(error) = fs::remove_file(&self.0)
        {
            warn!(path = %self.0.display(), %error, "the file with the process id cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_until_the_end_unless_another_process_took_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ZEO.pid");
        fs::write(&path, "1\n").expect("a stale file");
        let file = PidFile::write(path.clone()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), content());
        drop(file);
        assert!(!path.exists());

        let file = PidFile::write(path.clone()).expect("written");
        fs::write(&path, "1\n").expect("another's");
        drop(file);
        assert!(path.exists());
        assert!(PidFile::write(directory.path().join("none/ZEO.pid")).is_none());
    }
}
