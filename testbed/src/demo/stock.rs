use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use standby_checker::{Entry, Operation, Outcome};

use super::board::Board;
use super::clients::{PATIENCE, Records, Visited};
use super::counter::Count;
use super::site::Site;
use crate::cluster::Node;
use crate::script::Script;
use crate::stamps;

const WRITERS: usize = 3;

/// Stock clients, each in a process with a folder of its own (`demo.py`).
#[derive(Debug)]
pub struct Stock {
    /// With the folders of all.
    folder: PathBuf,
    writers: Vec<Script>,
    reader: Script,
    visitor: Script,
    /// How often all were asked to write.
    asked: usize,
}

impl Stock {
    /// Starts them, and waits until they work.
    pub fn start(python: &Path, folder: PathBuf, nodes: &[Node], site: &Site, board: &Board) -> Result<Self> {
        let zeo: Vec<String> = nodes.iter().map(|node| node.zeo().to_string()).collect();
        let zeo_ro: Vec<String> = nodes.iter().map(|node| node.zeo_ro().to_string()).collect();
        let start = |name: &str, arguments: &[&str], addresses: &[String]| {
            let own = folder.join(name);
            std::fs::create_dir_all(&own)?;
            let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            // Its folder comes behind what it is, before the rest.
            let place = if arguments[0] == "writer" { all.len() } else { 1 };
            all.insert(place, own.display().to_string());
            all.extend_from_slice(addresses);
            Script::start_under(python, "demo.py", all)
        };
        let names = (1..=WRITERS).map(|number| format!("writer-{number}"));
        let writers = names.map(|name| start(&name, &["writer", "plain", &name], &zeo));
        let writers = writers.collect::<Result<Vec<_>>>()?;
        let reader = start("reader", &["reader"], &zeo_ro)?;
        let (data, blobs) = (site.data.display().to_string(), site.blobs.display().to_string());
        let visitor = start("visitor", &["visitor", &data, &blobs], &zeo_ro)?;
        let mut stock = Self { folder, writers, reader, visitor, asked: 0 };
        for script in stock.scripts() {
            board.until("the clients to begin", PATIENCE, || script.heard("begun"))?;
        }
        Ok(stock)
    }

    fn scripts(&mut self) -> impl Iterator<Item = &mut Script> {
        self.writers.iter_mut().chain([&mut self.reader, &mut self.visitor])
    }

    /// How many write, and how many only read.
    pub fn numbers(&self) -> (usize, usize) {
        (self.writers.len(), 2)
    }

    /// Who counts what they commit, by what they write down.
    pub fn count(&self) -> Count {
        let folder = self.folder.clone();
        let mut files: HashMap<PathBuf, BufReader<File>> = HashMap::new();
        let (mut committed, mut text) = (0, String::new());
        Box::new(move || {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let path = entry.path().join("history");
                if !files.contains_key(&path)
                    && let Ok(file) = File::open(&path)
                {
                    files.insert(path, BufReader::new(file));
                }
            }
            for file in files.values_mut() {
                // A line that is not whole yet is not counted: there are more of them.
                while file.read_line(&mut text).is_ok_and(|length| length > 0) {
                    committed += u64::from(is_committed(&text));
                    text.clear();
                }
            }
            committed
        })
    }

    /// Waits until each writer has committed something that it began from now on.
    pub fn all_write(&mut self, board: &Board) -> Result<()> {
        self.asked += 1;
        let moment = self.asked;
        self.writers.iter_mut().try_for_each(|writer| writer.tell(&format!("write {moment}")))?;
        for writer in &mut self.writers {
            let wrote = format!("wrote {moment} ");
            board.until("every client to write", PATIENCE, || writer.heard(&wrote))?;
        }
        Ok(())
    }

    /// Ends them.
    pub fn finish(mut self, board: &Board) -> Result<Records> {
        self.scripts().try_for_each(|script| script.tell("stop"))?;
        for script in self.writers.iter_mut().chain([&mut self.reader]) {
            board.until("the clients to end", PATIENCE, || script.heard("ended"))?;
        }
        let visited = board.until("the visitor to end", PATIENCE, || self.visitor.heard("visited "))?;
        let visited: Vec<u64> = visited.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let visited = Visited {
            records: *visited.first().context("how many records")?,
            blobs: *visited.get(1).context("how many blobs")?,
        };
        for script in self.writers.drain(..).chain([self.reader, self.visitor]) {
            script.end()?;
        }
        Ok(Records { histories: stamps::histories(&self.folder)?, visited })
    }
}

/// Whether a line of a history says that a transaction is committed.
fn is_committed(line: &str) -> bool {
    let entry: Option<Entry> = serde_json::from_str(line).ok();
    entry.is_some_and(|entry| matches!(entry.operation, Operation::Outcome(Outcome::Committed(_))))
}
