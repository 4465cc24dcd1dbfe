//! What a configuration file refers to outside of itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Greatest size of a configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files, environment variables and directories, as the machine has them, or as a test says.
pub trait Surroundings {
    /// The text of a file, or why there is none.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether a directory is there.
    fn is_directory(&self, path: &Path) -> bool;
}

/// The machine's own files and environment.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path) -> Result<String, String> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }
}
