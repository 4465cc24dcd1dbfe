use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::save::blob_folder;
use crate::format::LOG_START;
use crate::history::{RecordHeads, Transactions};
use crate::log::LogFile;
use crate::window::Window;
use crate::world::fs::{self, File};
use crate::{Oid, ReadError, Storage, Tid};

/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A file with transactions that a rewind took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The file, a FileStorage.
    pub path: PathBuf,
    /// The transaction after which they came.
    pub fork: Tid,
    /// The last of them.
    pub last: Tid,
    /// When they were saved.
    pub at: SystemTime,
}

/// What was in the transactions of a saved file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedChanges {
    /// They, in order.
    pub tids: Vec<Tid>,
    /// The objects that they wrote, in order, each once.
    pub oids: Vec<Oid>,
}

impl Storage {
    /// The files that rewinds have left in [`Storage::lost_folder`] and nobody has taken away, oldest first. May wait for the disk.
    pub fn saved(&self) -> io::Result<Vec<Saved>> {
        let entries = match fs::read_dir(self.lost_folder()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut saved = Vec::new();
        for entry in entries {
            saved.extend(Saved::named(&entry?.path()));
        }
        saved.sort_by_key(|saved| (saved.at, saved.fork));
        Ok(saved)
    }
}

impl Saved {
    /// What the name says: `<fork>-<last>-<seconds since 1970>.fs`.
    fn named(path: &Path) -> Option<Self> {
        let stem = path.file_stem()?.to_str().filter(|_| path.extension().is_some_and(|is| is == "fs"))?;
        let [fork, last, seconds] = stem.split('-').collect::<Vec<_>>().try_into().ok()?;
        let tid = |text| u64::from_str_radix(text, 16).ok().map(Tid::new);
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        Some(Self { path: path.to_owned(), fork: tid(fork)?, last: tid(last)?, at })
    }

    /// The folder with its blobs, where it has some. May wait for the disk.
    pub fn blobs(&self) -> Option<PathBuf> {
        Some(blob_folder(&self.path)).filter(|folder| folder.exists())
    }

    /// How many transactions it has; with an error, how many of them come before it. May wait for the disk, as long as the file is.
    pub fn count(&self) -> (u64, Result<(), ReadError>) {
        let mut count = 0;
        let counted = match self.open() {
            Ok((mut transactions, _)) => transactions.try_for_each(|header| header.map(|_| count += 1)),
            Err(error) => Err(error.into()),
        };
        (count, counted)
    }

    /// What it has. `None`: more than `wanted` transactions or objects; it is read no further than that. May wait for the disk.
    pub fn changes(&self, wanted: usize) -> Result<Option<SavedChanges>, ReadError> {
        let (transactions, mut window) = self.open()?;
        let (mut tids, mut oids) = (Vec::new(), BTreeSet::new());
        for header in transactions {
            let header = header?;
            tids.push(header.tid);
            let mut heads = RecordHeads::new(&header);
            while let Some((_, head)) = heads.next(&mut window)? {
                oids.insert(head.oid);
                if oids.len() > wanted {
                    return Ok(None);
                }
            }
            if tids.len() > wanted {
                return Ok(None);
            }
        }
        Ok(Some(SavedChanges { tids, oids: oids.into_iter().collect() }))
    }

    fn open(&self) -> io::Result<(Transactions, Window)> {
        let file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        let log = Arc::new(LogFile::new(file));
        let window = Window::new(Arc::clone(&log), PIECE_BYTES, end);
        Ok((Transactions::new(log, LOG_START, end, None), window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_is_known_by_its_name_and_no_other_is() {
        let name = "lost/040d29aa504606a5-040d29aa504606b7-1795280656.fs";
        let saved = Saved::named(Path::new(name)).expect("a saved file");
        assert_eq!((saved.fork.get(), saved.last.get()), (0x040d29aa504606a5, 0x040d29aa504606b7));
        assert_eq!(saved.at, UNIX_EPOCH + Duration::from_secs(1_795_280_656));
        for other in
            ["lost/1-2-3.part", "lost/1-2-3.blobs", "lost/notes.fs", "lost/1-2-x.fs", "lost/1-2-3-4.fs"]
        {
            assert_eq!(Saved::named(Path::new(other)), None, "{other}");
        }
    }
}
