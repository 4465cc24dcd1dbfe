use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use standby_checker::{History, Transaction};
use zodb_types::Tid;

use super::board::Board;
use super::counter::Count;
use super::own::Own;
use super::python::Python;
use super::site::Site;
use super::stock::Stock;
use crate::cluster::Node;

/// The longest that clients may take for one step.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Which clients do the work.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Stock ZEO clients, in processes of this Python.
    Stock(Python),
    /// Those of `zeo-proto`, in this process.
    Own,
}

impl Kind {
    /// In words.
    pub fn what(&self) -> String {
        match self {
            Self::Stock(python) => {
                format!("stock ZEO {} clients, run by {}", python.zeo, python.path.display())
            }
            Self::Own => "the ZEO client in Rust".to_owned(),
        }
    }

    /// The same in two words or three.
    pub fn name(&self) -> String {
        match self {
            Self::Stock(python) => format!("stock ZEO {}", python.zeo),
            Self::Own => "Rust".to_owned(),
        }
    }

    /// The transactions of a file from this one on, with values as these clients write them down.
    pub fn transactions(&self, path: &Path, from: Option<Tid>) -> Result<Vec<Transaction>> {
        match self {
            Self::Stock(python) => crate::stamps::transactions(&python.path, path, from),
            Self::Own => super::own::transactions(path, from),
        }
    }
}

/// Clients at work: writers, readers of what those write, and visitors of what the site had before.
#[derive(Debug)]
pub enum Clients {
    /// Stock ones.
    Stock(Stock),
    /// Ours.
    Own(Own),
}

/// What is left of clients that have ended.
#[derive(Debug)]
pub struct Records {
    /// What they have written down.
    pub histories: Vec<History>,
    /// What visitors have compared.
    pub visited: Visited,
}

/// How much of the site was read again, and was as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visited {
    /// Records.
    pub records: u64,
    /// Blobs.
    pub blobs: u64,
}

impl Clients {
    /// Starts them, and waits until they work.
    pub fn start(kind: &Kind, folder: PathBuf, nodes: &[Node], site: &Site, board: &Board) -> Result<Self> {
        match kind {
            Kind::Stock(python) => Stock::start(&python.path, folder, nodes, site, board).map(Self::Stock),
            Kind::Own => Own::start(nodes, site).map(Self::Own),
        }
    }

    /// How many write, and how many only read.
    pub fn numbers(&self) -> (usize, usize) {
        match self {
            Self::Stock(stock) => stock.numbers(),
            Self::Own(own) => own.numbers(),
        }
    }

    /// Who counts what they commit.
    pub fn count(&self) -> Count {
        match self {
            Self::Stock(stock) => stock.count(),
            Self::Own(own) => own.count(),
        }
    }

    /// Waits until each writer has committed something that it began from now on.
    pub fn all_write(&mut self, board: &Board) -> Result<()> {
        match self {
            Self::Stock(stock) => stock.all_write(board),
            Self::Own(own) => own.all_write(board),
        }
    }

    /// Ends them.
    ///
    /// # Errors
    /// One has seen what a client must not see.
    pub fn finish(self, board: &Board) -> Result<Records> {
        match self {
            Self::Stock(stock) => stock.finish(board),
            Self::Own(own) => own.finish(),
        }
    }
}
