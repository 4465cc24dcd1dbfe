//! Code between a process and the system: some lines of C, made with the C compiler that Rust links with, and preloaded.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Makes the library of this name and source in a folder, unless it is there.
///
/// # Errors
/// There is no C compiler; the error says so.
pub fn library(folder: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let (text, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    if !library.exists() {
        std::fs::write(&text, source)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&text);
        let output = compile.output().context("cc does not start")?;
        ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(library)
}

/// What is in the environment of a process that has these.
pub fn variable<'a>(libraries: impl IntoIterator<Item = &'a Path>) -> (&'static str, OsString) {
    let libraries: Vec<&OsStr> = libraries.into_iter().map(Path::as_os_str).collect();
    ("LD_PRELOAD", libraries.join(OsStr::new(":")))
}
