//! Where the world outside comes in: files, the wall clock, threads. In the simulation of whole nodes (feature `simulation`,
//! never on in products) all of it is simulated, and nothing in this crate but this module knows.
//!
//! The service uses the same files and clock.

#[cfg(not(feature = "simulation"))]
mod machine;
#[cfg(feature = "simulation")]
mod simulated;

use std::io;
use std::path::Path;
use std::time::Duration;

#[cfg(not(feature = "simulation"))]
pub use machine::*;
#[cfg(feature = "simulation")]
pub use simulated::*;

/// Has something done, after about this time.
pub(crate) type Later = fn(Duration, Box<dyn FnOnce() + Send>);

/// Whether something is at a path.
pub fn exists(path: impl AsRef<Path>) -> bool {
    fs::exists(path).unwrap_or(false)
}

/// Makes the names in the directory of `path` durable.
///
/// # Errors
/// As the disk says.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::File::open(directory)?.sync_all()
}
