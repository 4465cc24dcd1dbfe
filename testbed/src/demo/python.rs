//! Which Python runs the stock clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{place, poll};

/// What the clients need of it.
const IMPORTS: &str = "import ZEO, ZODB, BTrees, importlib.metadata as m; print(m.version('ZEO'))";
/// Making a virtual environment may take so long, downloads included.
const PATIENCE: Duration = Duration::from_secs(90);

/// A Python with stock ZEO.
#[derive(Clone, Debug)]
pub struct Python {
    /// The program.
    pub path: PathBuf,
    /// The version of its ZEO.
    pub zeo: String,
}

/// The one that `STANDBY_PYTHON` names, else the one of the test command, which is made where it is missing, else
/// `python3`. `None`: no Python here has ZEO. `say` is told what takes time.
///
/// # Errors
/// `STANDBY_PYTHON` names one without ZEO.
pub fn find(say: impl Fn(&str)) -> Result<Option<Python>> {
    if let Some(named) = std::env::var_os("STANDBY_PYTHON") {
        let path = PathBuf::from(named);
        let found = with_zeo(&path);
        return Ok(Some(found.with_context(|| format!("STANDBY_PYTHON: {} has no ZEO", path.display()))?));
    }
    let made = place::target_folder()?.join("venv/bin/python");
    if let Some(found) = with_zeo(&made) {
        return Ok(Some(found));
    }
    say("preparing a Python with stock ZEO in target/venv (once; as the test command does)");
    match make() {
        Ok(()) if with_zeo(&made).is_some() => return Ok(with_zeo(&made)),
        Ok(()) => say("that Python has no ZEO"),
        Err(error) => say(&format!("that does not work here: {error:#}")),
    }
    Ok(with_zeo(Path::new("python3")))
}

/// The Python at this path, if it has ZEO.
fn with_zeo(path: &Path) -> Option<Python> {
    let output = Command::new(path).args(["-c", IMPORTS]).stdin(Stdio::null()).output().ok()?;
    let zeo = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then(|| Python { path: path.to_owned(), zeo })
}

/// Has the test command make its Python. A package index that cannot be reached is given up soon.
fn make() -> Result<()> {
    let mut command = Command::new(place::repository().join("testbed/run-tests"));
    command.arg("--prepare-python").env("CARGO_TARGET_DIR", place::target_folder()?);
    command.env("PIP_RETRIES", "1").env("PIP_DEFAULT_TIMEOUT", "5");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let ended = poll::until("a virtual environment", PATIENCE, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let told = child.wait_with_output()?.stdout;
    let told = String::from_utf8_lossy(&told);
    ensure!(
        ended?.success(),
        "{}",
        told.lines().find(|line| line.starts_with("error")).unwrap_or("it failed")
    );
    Ok(())
}
