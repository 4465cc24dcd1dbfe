use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::format::{
    BACK_POINTER, LOG_START, MAGIC, RECORD_HEADER, REDUNDANT_LENGTH, RecordHead, TRANSACTION_HEADER,
    TransactionHead, number,
};
use crate::history::{RecordHeads, Transactions};
use crate::log::{LogFile, check_earlier};
use crate::recent::Mix;
use crate::window::Window;
use crate::world;
use crate::world::fs::{self, File};
use crate::world::sync_directory_of;
use crate::{BlobStore, Oid, ReadError, ReadMode, Tid, TransactionHeader};

/// How much of the log is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Saves the end of a log as a FileStorage file of its own.
pub(super) struct Saver<'a> {
    pub(super) log: &'a Arc<LogFile>,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What a saved record holds.
enum Body {
    /// So many bytes at this position of the log.
    Data { position: u64, length: u64 },
    /// A back pointer to this position of the saved file, 0 for none.
    Pointer(u64),
}

impl Saver<'_> {
    /// Saves into the folder, durably, with blobs. Returns the file's name, which [`settle`] gives it: until then it ends
    /// with `.part`, and if that never comes, the next one to be saved removes it.
    pub(super) fn save(
        &self,
        folder: &Path,
        fork: Tid,
        last: Tid,
        blobs: Option<&BlobStore>,
    ) -> Result<PathBuf, ReadError> {
        if !world::exists(folder) {
            fs::create_dir_all(folder)?;
            sync_directory_of(folder)?;
        }
        remove_leftovers(folder)?;
        let seconds = world::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("{:016x}-{:016x}-{seconds}", fork.get(), last.get());
        let path = std::path::absolute(folder)?.join(&name).with_extension("fs");
        let part = path.with_extension("part");
        let saved = self.write(&part)?;
        if let Some(blobs) = blobs {
            save_blobs(blobs, &saved, &blob_folder(&path))?;
        }
        sync_directory_of(&path)?;
        Ok(path)
    }

    /// Writes the file. Returns the revisions that it has.
    fn write(&self, path: &Path) -> Result<Vec<(Oid, Tid)>, ReadError> {
        let mut out = BufWriter::with_capacity(PIECE_BYTES, File::create(path)?);
        out.write_all(MAGIC)?;
        let mut at = LOG_START;
        let mut window = Window::new(Arc::clone(self.log), PIECE_BYTES, self.to);
        // Where records of the log are in the file, and the last one of each object.
        let mut saved = HashMap::<u64, u64, BuildHasherDefault<Mix>>::default();
        let mut latest = HashMap::<u64, u64, BuildHasherDefault<Mix>>::default();
        let mut revisions = Vec::new();
        for header in Transactions::new(Arc::clone(self.log), self.from, self.to, None) {
            let header = header?;
            let transaction = at;
            let (records, length) = self.plan(&header, &mut window, &mut saved, at)?;
            out.write_all(&encode_header(&header, length))?;
            at += TRANSACTION_HEADER as u64 + metadata_length(&header);
            // Two records of one object in one transaction have the same previous one.
            let mut written = Vec::with_capacity(records.len());
            for (oid, body) in records {
                let data_length = if let Body::Data { length, .. } = body { length } else { 0 };
                let previous = latest.get(&oid.get()).copied().unwrap_or(0);
                let head = RecordHead {
                    oid,
                    tid: header.tid,
                    previous,
                    transaction,
                    version_length: 0,
                    data_length,
                };
                out.write_all(&head.encode())?;
                match body {
                    Body::Pointer(to) => out.write_all(&to.to_be_bytes())?,
                    Body::Data { position, length } => copy(&mut window, position, length, &mut out)?,
                }
                written.push((oid.get(), at));
                revisions.push((oid, header.tid));
                at += head.length();
            }
            latest.extend(written);
            out.write_all(&length.to_be_bytes())?;
            at += REDUNDANT_LENGTH;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(revisions)
    }

    /// What is to be saved of a transaction that begins at `at`, and its length without the redundant one.
    fn plan(
        &self,
        header: &TransactionHeader,
        window: &mut Window,
        saved: &mut HashMap<u64, u64, BuildHasherDefault<Mix>>,
        at: u64,
    ) -> Result<(Vec<(Oid, Body)>, u64), ReadError> {
        let mut heads = RecordHeads::new(header);
        let mut records = Vec::new();
        let mut end = at + TRANSACTION_HEADER as u64 + metadata_length(header);
        while let Some((position, head)) = heads.next(window)? {
            let body = self.body(window, position, &head, saved)?;
            saved.insert(position, end);
            let length = if let Body::Data { length, .. } = body { length } else { BACK_POINTER as u64 };
            end += RECORD_HEADER as u64 + length;
            records.push((head.oid, body));
        }
        Ok((records, end - at))
    }

    fn body(
        &self,
        window: &mut Window,
        position: u64,
        head: &RecordHead,
        saved: &HashMap<u64, u64, BuildHasherDefault<Mix>>,
    ) -> Result<Body, ReadError> {
        let content = position + RECORD_HEADER as u64;
        if head.data_length != 0 {
            return Ok(Body::Data { position: content, length: head.data_length });
        }
        let pointer = window.at(content, BACK_POINTER)?;
        if pointer.len() < BACK_POINTER {
            return Err(ReadError::corrupt(position, "the log ends within a record"));
        }
        let back = number(pointer, 0);
        check_earlier("back pointer", back, position)?;
        if let Some(to) = saved.get(&back) {
            return Ok(Body::Pointer(*to));
        }
        self.data_of(head.oid, back)
    }

    /// The data that a record before the saved ones holds or leads to.
    fn data_of(&self, oid: Oid, mut position: u64) -> Result<Body, ReadError> {
        while position != 0 {
            let (head, back) = self.log.record_head_and_back(oid, position, ReadMode::MayBlock)?;
            if head.data_length != 0 {
                let position = position + RECORD_HEADER as u64;
                return Ok(Body::Data { position, length: head.data_length });
            }
            position = back;
        }
        Ok(Body::Pointer(0))
    }
}

fn metadata_length(header: &TransactionHeader) -> u64 {
    (header.user.len() + header.description.len() + header.extension.len()) as u64
}

fn encode_header(header: &TransactionHeader, length: u64) -> Vec<u8> {
    let short = |bytes: &[u8]| u16::try_from(bytes.len()).expect("it was read with a length of two bytes");
    let head = TransactionHead {
        tid: header.tid,
        length,
        status: header.status,
        user_length: short(&header.user),
        description_length: short(&header.description),
        extension_length: short(&header.extension),
    };
    [&head.encode()[..], &header.user, &header.description, &header.extension].concat()
}

fn copy(window: &mut Window, position: u64, length: u64, out: &mut impl Write) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let piece = window.some_at(position + done, length - done)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(piece)?;
        done += piece.len() as u64;
    }
    Ok(())
}

/// Gives a saved file its name.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    match fs::rename(path.with_extension("part"), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && world::exists(path) => Ok(()),
        other => {
            other?;
            sync_directory_of(path)
        }
    }
}

/// The directory for the blobs of a saved file.
pub(super) fn blob_folder(saved: &Path) -> PathBuf {
    saved.with_extension("blobs")
}

/// Removes files that were not finished. Their blobs are second names of blobs that are still in their place.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            let blobs = blob_folder(&path);
            if world::exists(&blobs) {
                fs::remove_dir_all(&blobs)?;
            }
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Gives the blobs of these revisions a second name below `folder`, durably.
fn save_blobs(blobs: &BlobStore, revisions: &[(Oid, Tid)], folder: &Path) -> io::Result<()> {
    let mut store = None;
    for (oid, tid) in revisions {
        if !world::exists(blobs.path(*oid, *tid)) {
            continue;
        }
        let store = match &store {
            Some(store) => store,
            None => store.insert(BlobStore::open(folder).map_err(io::Error::other)?),
        };
        store.adopt(blobs, *oid, *tid)?;
    }
    if store.is_some() { sync_directory_of(folder) } else { Ok(()) }
}

/// Removes the blobs that were saved with this file from where they were.
pub(super) fn remove_saved_blobs(blobs: &BlobStore, saved: &Path) -> Result<(), ReadError> {
    let folder = blob_folder(saved);
    if !world::exists(&folder) {
        return Ok(());
    }
    let store = BlobStore::open(&folder).map_err(io::Error::other)?;
    let file = File::open(saved)?;
    let end = file.metadata()?.len();
    let log = Arc::new(LogFile::new(file));
    let mut window = Window::new(Arc::clone(&log), PIECE_BYTES, end);
    for header in Transactions::new(log, LOG_START, end, None) {
        let header = header?;
        let mut heads = RecordHeads::new(&header);
        while let Some((_, head)) = heads.next(&mut window)? {
            if world::exists(store.path(head.oid, header.tid)) {
                blobs.remove(head.oid, header.tid)?;
            }
        }
    }
    Ok(())
}
