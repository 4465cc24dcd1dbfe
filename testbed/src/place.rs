//! Where things are: the build's folder, the binary under test, the Python with stock ZEO, optional real data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// Cargo's target folder, as seen from the running executable.
pub fn target_folder() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    Ok(profile_folder(&executable)?.parent().context("the profile's folder has a parent")?.to_owned())
}

/// The folder of the profile that `executable` was built for, `target/debug` or `target/release`.
fn profile_folder(executable: &Path) -> Result<&Path> {
    let folder = executable.parent().context("an executable lies in a folder")?;
    if folder.ends_with("deps") { folder.parent().context("deps has a parent") } else { Ok(folder) }
}

/// The repository's root folder.
pub fn repository() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_owned()
}

/// The `standby` binary under test: `STANDBY_BIN`, else the one built beside this executable.
pub fn standby_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STANDBY_BIN") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("STANDBY_BIN names no file: {}", path.display());
        }
        return Ok(path);
    }
    built("standby", false)
}

/// The same, for somebody who watches: what cargo does is shown on standard error.
pub fn standby_binary_shown() -> Result<PathBuf> {
    match std::env::var_os("STANDBY_BIN") {
        Some(_) => standby_binary(),
        None => built("standby", true),
    }
}

/// The `standby-admin` binary, built beside this executable.
pub fn admin_binary() -> Result<PathBuf> {
    built("standby-admin", false)
}

/// The same, for somebody who watches.
pub fn admin_binary_shown() -> Result<PathBuf> {
    built("standby-admin", true)
}

/// The binary of a package of the same name, which is brought up to date first (cargo builds binaries only for the tests of
/// their own package). `shown`: cargo tells on standard error how far it is.
fn built(name: &'static str, shown: bool) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    // Once is enough: nobody changes it while a test runs.
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = known.get(name) {
        return Ok(path.clone());
    }
    let path = build(name, shown)?;
    known.insert(name, path.clone());
    Ok(path)
}

/// What is built together for somebody who has just built the last of them: all of these want the same features of the
/// packages below them then, none of which is built twice.
const TOGETHER: [&str; 3] = ["standby", "standby-admin", "standby-testbed"];

fn build(name: &str, shown: bool) -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = profile_folder(&executable)?;
    let is_release = folder.ends_with("release");
    let packages = if is_release && TOGETHER.contains(&name) { &TOGETHER[..] } else { &[name] };
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells those whom it runs: some build scripts would run again for it, and with them half of the build.
    let of_runs =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    for (name, _) in std::env::vars_os() {
        if of_runs.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            build.env_remove(name);
        }
    }
    build.arg("build").arg("--target-dir").arg(target_folder()?);
    for package in packages {
        build.args(["--package", package]);
    }
    if shown {
        build.stderr(Stdio::inherit());
    } else {
        build.arg("--quiet");
    }
    if is_release {
        build.arg("--release");
    }
    let output = build.current_dir(repository()).output();
    let output = output.with_context(|| format!("cargo, to build `{name}`, did not start"))?;
    if !output.status.success() {
        bail!("`{name}` does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let path = folder.join(name);
    if !path.is_file() {
        bail!("`{name}` is not at {}", path.display());
    }
    Ok(path)
}

/// A program of the machine, which not every machine has: its path; else says that a test is skipped.
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {name} here (Debian's package {package} has it)");
    }
    found
}

/// The Python that has stock ZEO and ZODB: `STANDBY_PYTHON`, else the virtual environment that `testbed/run-tests`
/// makes.
pub fn python() -> Result<PathBuf> {
    python_of("stock ZEO", "STANDBY_PYTHON", "venv", "testbed/run-tests")
}

/// The Python that has ZEO 5.4.1, which many still have: `STANDBY_PYTHON_541`, else the virtual environment that
/// `testbed/run-tests` makes.
pub fn python_541() -> Result<PathBuf> {
    python_of("ZEO 5.4.1", "STANDBY_PYTHON_541", "venv-541", "testbed/run-tests")
}

fn python_of(what: &str, variable: &str, folder: &str, maker: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => target_folder()?.join(folder).join("bin/python"),
    };
    if !path.is_file() {
        bail!("no Python with {what} at {}: run {maker}, which makes one, or set {variable}", path.display());
    }
    Ok(path)
}

/// A tool that was installed with the Python that has stock ZEO, such as `zeopack`.
pub fn stock_tool(name: &str) -> Result<PathBuf> {
    let path = python()?.with_file_name(name);
    if !path.is_file() {
        bail!("no {name} beside the Python with stock ZEO, at {}", path.display());
    }
    Ok(path)
}

/// The Python that has Zope: `STANDBY_ZOPE_PYTHON`, else the virtual environment that the step `zope` of
/// `testbed/run-tests` makes.
pub fn zope_python() -> Result<PathBuf> {
    python_of("Zope", "STANDBY_ZOPE_PYTHON", "zope-venv", "testbed/run-tests --only zope")
}

/// The folder of our Python scripts.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// A file of the optional folder with real data beside the repository, if it is there.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = repository().join("../shared/data").join(name);
    path.is_file().then_some(path)
}

/// A new folder that every user of the machine can reach, removed when dropped.
pub fn open_folder(name: &str) -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// A new folder for data on the disk, removed when dropped. Not the system's temporary folder, which may be memory:
/// what is measured and crashed here has to be a disk. `STANDBY_KEEP=1` keeps it, to look at after a failure.
pub fn scratch(name: &str) -> Result<tempfile::TempDir> {
    let parent = target_folder()?.join("testbed");
    std::fs::create_dir_all(&parent)?;
    let mut folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&parent)?;
    if std::env::var_os("STANDBY_KEEP").is_some() {
        folder.disable_cleanup(true);
    }
    Ok(folder)
}
