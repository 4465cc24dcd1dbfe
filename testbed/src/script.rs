//! Our Python scripts as processes: what stock ZEO clients and ZODB's own tools do in a test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::place;

/// The longest that a script may take for one step.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running script that one can talk with, line by line. Killed when dropped.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Script {
    /// Starts `testbed/python/NAME` with arguments, under the Python that has stock ZEO.
    pub fn start<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Result<Self> {
        Self::start_under(&place::python()?, name, arguments)
    }

    /// Starts `testbed/python/NAME` with arguments, under this Python.
    pub fn start_under<A: AsRef<OsStr>>(
        python: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        Self::spawn(Command::new(python), name, arguments)
    }

    /// The same, in this network namespace.
    pub fn start_in<A: AsRef<OsStr>>(
        namespace: &str,
        python: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(python);
        Self::spawn(command, name, arguments)
    }

    fn spawn<A: AsRef<OsStr>>(
        mut command: Command,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        command.arg("-u").arg(place::scripts().join(name)).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONFAULTHANDLER", "1").env_remove("ZEO_MSGPACK");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} did not start"))?;
        let (sender, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().context("stdout is piped")?),
            Box::new(child.stderr.take().context("stderr is piped")?),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, input, lines, seen: Vec::new() })
    }

    /// Runs a script to its end. Returns what it wrote; fails with that when it fails.
    pub fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        Self::run_under(&place::python()?, name, arguments)
    }

    /// Runs a script to its end, under this Python. As [`run`](Self::run) otherwise.
    pub fn run_under<A: AsRef<OsStr>>(
        python: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut script = Self::start_under(python, name, arguments)?;
        script.input = None;
        script.end()
    }

    /// Waits for a line that begins with `beginning`; returns the rest of it.
    pub fn hear(&mut self, beginning: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let rest = line.strip_prefix(beginning).map(|rest| rest.trim().to_owned());
                    self.seen.push(line);
                    if let Some(rest) = rest {
                        return Ok(rest);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "{} did not say {beginning:?} in {PATIENCE:?}:\n{}",
                        self.name,
                        self.seen.join("\n")
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended without {beginning:?}:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
    }

    /// The rest of the next line that begins with `beginning`, if it was written already.
    ///
    /// # Errors
    /// The script has ended without.
    pub fn heard(&mut self, beginning: &str) -> Result<Option<String>> {
        loop {
            match self.lines.try_recv() {
                Ok(line) => {
                    let rest = line.strip_prefix(beginning).map(|rest| rest.trim().to_owned());
                    self.seen.push(line);
                    if rest.is_some() {
                        return Ok(rest);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    bail!("{} ended without {beginning:?}:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
    }

    /// Writes a line to the script's input.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the script's input is closed")?;
        writeln!(input, "{line}")
            .with_context(|| format!("{} has ended:\n{}", self.name, self.seen.join("\n")))?;
        Ok(input.flush()?)
    }

    /// Waits for its end. Returns everything it wrote; fails with that when it failed.
    pub fn end(mut self) -> Result<String> {
        self.input = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not end in {PATIENCE:?}:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
        let status = self.child.wait()?;
        let written = self.seen.join("\n");
        if !status.success() {
            bail!("{} failed ({status}):\n{written}", self.name);
        }
        Ok(written)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Errors only say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
