//! Stock clients that stamp everything that they write, and write down what they see.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use standby_checker::{History, Transaction, read_lines};
use zodb_types::Tid;

use crate::cluster::Node;
use crate::script::Script;

/// Some of them, each with a folder of its own in one.
#[derive(Debug)]
pub struct Stamps {
    folder: PathBuf,
    namespace: Option<String>,
    writers: Vec<Script>,
    readers: Vec<Script>,
}

impl Stamps {
    /// None yet. They will be in this network namespace.
    pub fn new(folder: &Path, namespace: Option<&str>) -> Self {
        let (folder, namespace) = (folder.to_owned(), namespace.map(str::to_owned));
        Self { folder, namespace, writers: Vec::new(), readers: Vec::new() }
    }

    /// Starts one of this name under this Python, and waits until it is at work: a writer that dials for writing only (`plain`) or
    /// reads meanwhile where it can (`fallback`), or a `reader`.
    pub fn start(&mut self, python: &Path, name: &str, mode: &str, nodes: &[Node]) -> Result<()> {
        let var = self.folder.join(name);
        std::fs::create_dir_all(&var)?;
        let scenario = if mode == "reader" { "reader" } else { "writer" };
        let mut arguments =
            vec![scenario.to_owned(), mode.to_owned(), name.to_owned(), var.display().to_string()];
        if mode != "reader" {
            arguments.extend(nodes.iter().map(|node| node.zeo().to_string()));
        }
        if mode != "plain" {
            arguments.extend(nodes.iter().map(|node| node.zeo_ro().to_string()));
        }
        let mut client = match &self.namespace {
            Some(namespace) => Script::start_in(namespace, python, "stamps.py", arguments)?,
            None => Script::start_under(python, "stamps.py", arguments)?,
        };
        client.hear("begun")?;
        if mode == "reader" {
            self.readers.push(client)
        } else {
            self.writers.push(client)
        }
        Ok(())
    }

    /// Each writer commits something that it begins from now on. Returns the last transaction of these.
    pub fn all_write(&mut self, moment: &str) -> Result<String> {
        self.writers.iter_mut().try_for_each(|writer| writer.tell(&format!("write {moment}")))?;
        let written = self.writers.iter_mut().map(|writer| writer.hear(&format!("wrote {moment} ")));
        let written: Vec<String> = written.collect::<Result<_>>()?;
        written.into_iter().max().context("there are writers")
    }

    /// Each client writes down what it sees at a moment behind this transaction.
    pub fn all_look(&mut self, moment: &str, tid: &str) -> Result<()> {
        let mut clients: Vec<&mut Script> = self.writers.iter_mut().chain(&mut self.readers).collect();
        clients.iter_mut().try_for_each(|client| client.tell(&format!("look {moment} {tid}")))?;
        clients.iter_mut().try_for_each(|client| client.hear(&format!("looked {moment}")).map(drop))
    }

    /// Ends them. Returns what they have written down.
    pub fn stop(&mut self) -> Result<Vec<History>> {
        for mut client in self.writers.drain(..).chain(self.readers.drain(..)) {
            client.tell("stop")?;
            client.hear("ended")?;
            client.end()?;
        }
        histories(&self.folder)
    }
}

/// What clients have written down, each in a folder of its name in this one.
pub fn histories(folders: &Path) -> Result<Vec<History>> {
    let folders = folders.read_dir()?.map(|entry| Ok(entry?.path().join("history")));
    let paths = folders.collect::<Result<Vec<PathBuf>>>()?.into_iter().filter(|path| path.is_file());
    let history = |path: PathBuf| {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let client = folder.to_string_lossy().into_owned();
        let entries = read_lines(BufReader::new(File::open(&path)?));
        Ok(History { client, entries: entries.with_context(|| path.display().to_string())? })
    };
    paths.map(history).collect()
}

/// The transactions of a file from this one on, as ZODB itself reads it under this Python, with the stamps as values. The file
/// may be in use.
pub fn transactions(python: &Path, path: &Path, from: Option<Tid>) -> Result<Vec<Transaction>> {
    let mut arguments = vec![OsString::from("log"), path.into()];
    arguments.extend(from.map(|tid| format!("{:016x}", tid.get()).into()));
    Script::run_under(python, "stamps.py", arguments)?;
    let mut log = path.to_owned().into_os_string();
    log.push(".log");
    Ok(read_lines(BufReader::new(File::open(log)?))?)
}
