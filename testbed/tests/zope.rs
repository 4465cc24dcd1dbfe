//! A Zope site on the server, from its first page to the last look at its file: the story is told here, what the
//! site's manager does over HTTP in each chapter is in `testbed/python/zope_site.py`.
//!
//! Needs a Python with Zope, so it is run by `testbed/run-tests --only zope`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use standby_testbed::script::Script;
use standby_testbed::server::{Server, Setup, free_port};
use standby_testbed::{place, poll};
use zeo_proto::Encoding;

/// A Zope instance.
struct Zope {
    python: PathBuf,
    folder: PathBuf,
}

/// Its process.
struct Site {
    process: Server,
    python: PathBuf,
    address: String,
}

impl Zope {
    /// The files of an instance whose data are on this server.
    fn install(folder: &Path, server: &str) -> Result<Self> {
        let zope = Self { python: place::zope_python()?, folder: folder.to_owned() };
        chapter(&zope.python, "instance", &[text(folder), server])?;
        Ok(zope)
    }

    /// Starts it, and waits until it answers.
    fn start(&self) -> Result<Site> {
        let log = self.folder.join("zope.log");
        let output = self.folder.join("zope.out");
        let mut command = Command::new(self.python.with_file_name("runwsgi"));
        command.arg(self.folder.join("etc/zope.ini"));
        command.env("PYTHONPATH", place::scripts().join("zope_products")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&log)?);
        let mut process = Server::spawn(command, output, log).context("Zope did not start")?;
        let address = poll::until("Zope to be ready", poll::PATIENCE, || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("Zope ended ({status}):\n{}", process.log()?);
            }
            let log = process.log()?;
            let announced = log.lines().find_map(|line| line.split_once("Serving on http://"));
            Ok(announced.map(|(_, address)| address.trim().to_owned()))
        })?;
        Ok(Site { process, python: self.python.clone(), address })
    }

    /// Forgets what the instance keeps of the server's data: the cache of objects and that of blobs.
    fn drop_caches(&self) -> Result<()> {
        std::fs::remove_dir_all(self.folder.join("var"))?;
        Ok(std::fs::create_dir(self.folder.join("var"))?)
    }
}

impl Site {
    /// What the manager does in this chapter. A failure comes with Zope's log.
    fn lives_through(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let all: Vec<&str> =
            std::iter::once(self.address.as_str()).chain(arguments.iter().copied()).collect();
        chapter(&self.python, name, &all).with_context(|| self.log())
    }

    /// Begins a chapter in which the manager changes the page to `text`, and does not wait for its end.
    fn is_told(&self, name: &str, text: &str) -> Result<Script> {
        let mut script =
            Script::start_under(&self.python, "zope_site.py", [name, self.address.as_str(), text])?;
        script.hear("changing")?;
        Ok(script)
    }

    fn log(&self) -> String {
        format!("Zope's log:\n{}", self.process.log().unwrap_or_else(|error| error.to_string()))
    }

    /// Ends it as an operator does.
    fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        self.process.wait()?;
        Ok(())
    }
}

fn chapter(python: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    let all = std::iter::once(name).chain(arguments.iter().copied());
    println!("{}", Script::run_under(python, "zope_site.py", all)?);
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is text")
}

/// How many revisions of blobs there are below a directory.
fn count_blobs(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        count += if path.is_dir() {
            count_blobs(&path)?
        } else {
            usize::from(path.extension() == Some("blob".as_ref()))
        };
    }
    Ok(count)
}

#[test]
#[ignore = "needs Zope: testbed/run-tests --only zope"]
fn a_zope_site_lives_on_the_server_through_undo_pack_and_restarts() -> Result<()> {
    let folder = place::scratch("zope")?;
    let (data, blobs) = (folder.path().join("Data.fs"), folder.path().join("blobs"));
    let mut setup = Setup::under_test(&data, Encoding::Pickle)?;
    setup.port = free_port()?;
    setup.blobs = Some(blobs.clone());
    let mut running = setup.start()?;

    let zope = Zope::install(&folder.path().join("instance"), &running.address.to_string())?;
    let site = zope.start()?;
    site.lives_through("makes-content", &[])?;
    site.lives_through("undoes", &[])?;
    let before = count_blobs(&blobs)?;
    site.lives_through("packs", &[])?;
    ensure!((before, count_blobs(&blobs)?) == (3, 1), "{before} blobs, then {}", count_blobs(&blobs)?);

    // The server is restarted, then killed and started, under a Zope that runs on, and is asked for a change meanwhile.
    running.server.stop()?;
    let meanwhile = site.is_told("outlives", "after a restart")?;
    running = setup.start()?;
    meanwhile.end().with_context(|| site.log())?;
    running.server.kill()?;
    let meanwhile = site.is_told("outlives", "after a crash")?;
    running = setup.start()?;
    meanwhile.end().with_context(|| site.log())?;

    // Zope is restarted: with its cache, then with nothing but what the server has.
    site.stop()?;
    let site = zope.start()?;
    site.lives_through("reads-back", &["after a crash"])?;
    site.stop()?;
    zope.drop_caches()?;
    let site = zope.start()?;
    site.lives_through("reads-back", &["after a crash!"])?;
    site.stop()?;
    running.server.stop()?;

    let verified = Command::new(place::standby_binary()?).arg("verify").arg(&data).output()?;
    ensure!(verified.status.success(), "{verified:?}");
    chapter(&zope.python, "opens", &[text(&data), text(&blobs), "after a crash!!"])
}
