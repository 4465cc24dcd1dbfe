//! Removing the blobs of revisions that a pack dropped.
//!
//! The pack writes down which these are before the packed log takes its place, and the blobs go afterwards. A crash
//! in between leaves the list, `Data.fs.standby/blobs-to-remove`, which the next opening works off:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SBBLOBRM` |
//! | 4 | version, 1, big-endian |
//! | 16 each | oid and tid of a revision |
//! | 16 | XXH3 (128 bits, seed 0) of all before |

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use twox_hash::xxhash3_128::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

use super::BlobStore;
use crate::world::fs::{self, File};
use crate::{Oid, Tid};

const MAGIC: &[u8; 8] = b"SBBLOBRM";
const VERSION: u32 = 1;
const HEADER: u64 = 12;
const ENTRY: u64 = 16;

/// The list in the making.
pub(crate) struct RemovalList {
    file: BufWriter<File>,
    hasher: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    entries: u64,
}

impl RemovalList {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let mut list = Self { file, hasher: RawHasher::new(SecretBuffer::default()), entries: 0 };
        list.write(MAGIC)?;
        list.write(&VERSION.to_be_bytes())?;
        Ok(list)
    }

    pub(crate) fn add(&mut self, oid: Oid, tid: Tid) -> io::Result<()> {
        self.entries += 1;
        self.write(&oid.to_bytes())?;
        self.write(&tid.to_bytes())
    }

    /// Completes the list and makes it durable, its name apart. Returns how long it is.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.file.write_all(&self.hasher.finish_128().to_be_bytes())?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.entries)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.write(bytes);
        self.file.write_all(bytes)
    }
}

/// Removes what a list names, unless `is_there` says that the log has the revision, then the list. Returns how many
/// blobs that were. A list that is damaged is left alone.
pub(crate) fn work_off<E: From<io::Error>>(
    list: &Path,
    blobs: &BlobStore,
    mut is_there: impl FnMut(Oid, Tid) -> Result<bool, E>,
) -> Result<u64, E> {
    let file = match File::open(list) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let Some(entries) = check(&file)? else {
        tracing::warn!(path = %list.display(), "the list of blobs to remove is damaged and is not followed");
        return Ok(0);
    };
    let mut reader = BufReader::new(File::open(list)?);
    io::copy(&mut reader.by_ref().take(HEADER), &mut io::sink())?;
    let mut removed = 0;
    for _ in 0..entries {
        let mut bytes = [0; ENTRY as usize];
        reader.read_exact(&mut bytes)?;
        let oid = Oid::new(crate::format::number(&bytes, 0));
        let tid = Tid::new(crate::format::number(&bytes, 8));
        if is_there(oid, tid)? {
            continue;
        }
        removed += u64::from(blobs.remove(oid, tid)?);
    }
    fs::remove_file(list)?;
    Ok(removed)
}

/// How many entries a list has; `None` when it is not whole.
fn check(file: &File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let Some(content) = length.checked_sub(16).filter(|content| *content >= HEADER) else { return Ok(None) };
    let mut reader = BufReader::new(file);
    let mut hasher = RawHasher::new(SecretBuffer::default());
    let mut header = [0; HEADER as usize];
    reader.read_exact(&mut header)?;
    hasher.write(&header);
    let mut rest = reader.by_ref().take(content - HEADER);
    let mut piece = [0; 1 << 14];
    loop {
        match rest.read(&mut piece)? {
            0 => break,
            read => hasher.write(&piece[..read]),
        }
    }
    let mut sum = [0; 16];
    reader.read_exact(&mut sum)?;
    let whole = header[..8] == *MAGIC
        && header[8..] == VERSION.to_be_bytes()
        && (content - HEADER).is_multiple_of(ENTRY)
        && sum == hasher.finish_128().to_be_bytes();
    Ok(whole.then_some((content - HEADER) / ENTRY))
}
