//! Blobs: uploads in chunks, uploads into a shared directory, downloads.
//!
//! Blobs can be larger than memory. An upload is written out as it comes, and the client's next chunk is not read
//! before the last ones are written; a download is read as the client takes it. Files are touched in jobs only.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use replica::{BlobStore, StagedBlob};
use zeo_proto::{ErrorReply, Oid, Serial, Tid, TransactionKey, Value};

use crate::world::fs::File;

use super::{Call, CloseReason, Completion, Outbox, Session};

/// The stock server's size of a chunk, in bytes.
const CHUNK_BYTES: usize = 59_000;
/// Chunks that are read for a client at a time.
const CHUNKS_AHEAD: usize = 8;
/// What is gathered of an upload before it is written, in bytes.
const GATHERED_BYTES: usize = 1 << 20;

/// The blob traffic of a session.
#[derive(Default)]
pub(super) struct BlobTraffic {
    upload: Option<Upload>,
    /// A job has the upload: the client's next request must wait.
    upload_away: bool,
    downloads: VecDeque<Download>,
    /// A job reads for the first of the downloads.
    download_away: bool,
}

#[derive(Default)]
struct Upload {
    file: UploadedBlob,
    gathered: Vec<u8>,
}

/// An upload that is written out.
#[derive(Default)]
pub(crate) struct UploadedBlob {
    staged: Option<StagedBlob>,
    /// Open until the upload is whole: a transaction can have more blobs than a process may have open files.
    file: Option<File>,
    failure: Option<String>,
}

struct Download {
    call: Call,
    oid: Oid,
    serial: Tid,
    begun: bool,
    file: Option<File>,
}

/// What a job did for an upload.
pub(crate) struct Uploaded {
    file: UploadedBlob,
    /// The upload is whole, and belongs to this record of this transaction.
    end: Option<(Oid, TransactionKey)>,
}

/// What a job read for a download.
pub(crate) struct Downloaded {
    file: Option<File>,
    /// Some chunks; fewer than asked for at the end of the file.
    result: Result<Vec<u8>, ErrorReply>,
}

impl BlobTraffic {
    /// Whether the client's next request can be taken.
    pub(super) fn is_ready(&self) -> bool {
        !self.upload_away
    }

    /// Forgets an upload that is not whole, with what was written of it.
    pub(super) fn abandon_upload(&mut self) {
        self.upload = None;
    }
}

impl UploadedBlob {
    /// A file that a client has put into the object's own directory.
    fn shared(blobs: &BlobStore, oid: Oid, name: &str) -> Self {
        match blobs.stage_shared(oid, name) {
            Ok(staged) => Self { staged: Some(staged), ..Self::default() },
            Err(error) => Self { failure: Some(format!("the blob {name}: {error}")), ..Self::default() },
        }
    }

    fn write(&mut self, blobs: &BlobStore, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.try_write(blobs, bytes) {
            self.failure = Some(format!("a blob could not be written: {error}"));
        }
    }

    fn try_write(&mut self, blobs: &BlobStore, bytes: &[u8]) -> std::io::Result<()> {
        if self.staged.is_none() {
            let (file, staged) = blobs.stage()?;
            (self.file, self.staged) = (Some(file), Some(staged));
        }
        self.file.as_mut().expect("open until the upload is whole").write_all(bytes)
    }

    /// The file, so that it lasts.
    pub(super) fn sync(self) -> Result<StagedBlob, String> {
        match (self.failure, self.staged) {
            (Some(failure), _) => Err(failure),
            (None, None) => Err("a blob without an upload".to_owned()),
            (None, Some(staged)) => match staged.sync() {
                Ok(()) => Ok(staged),
                Err(error) => Err(format!("a blob could not be synced: {error}")),
            },
        }
    }
}

impl Session {
    pub(super) fn blobs(&mut self) -> Result<BlobStore, ErrorReply> {
        let blobs = self.registered().service.storage().blobs();
        blobs.cloned().ok_or_else(|| super::errors::storage_error("this storage has no blob directory"))
    }

    pub(super) fn store_blob_start(&mut self) -> Result<(), ErrorReply> {
        self.blobs()?;
        let registered = self.registered();
        registered.check_writable()?;
        if registered.blobs.upload.is_some() {
            return Err(ErrorReply::Assertion(None));
        }
        registered.blobs.upload = Some(Upload::default());
        Ok(())
    }

    pub(super) fn store_blob_chunk(&mut self, chunk: &[u8], out: &mut Outbox) -> Result<(), ErrorReply> {
        let Some(upload) = &mut self.registered().blobs.upload else { return Err(no_upload()) };
        upload.gathered.extend_from_slice(chunk);
        if upload.gathered.len() >= GATHERED_BYTES {
            self.write_upload(None, out)?;
        }
        Ok(())
    }

    pub(super) fn store_blob_end(
        &mut self,
        oid: Oid,
        serial: Serial,
        data: &[u8],
        key: TransactionKey,
        out: &mut Outbox,
    ) -> Result<(), ErrorReply> {
        let stored = self.collecting(&key)?.store(oid, serial, data);
        stored.map_err(super::errors::transaction_error)?;
        if self.registered().blobs.upload.is_none() {
            return Err(no_upload());
        }
        self.write_upload(Some((oid, key)), out)
    }

    /// Hands what was gathered to a job.
    fn write_upload(
        &mut self,
        end: Option<(Oid, TransactionKey)>,
        out: &mut Outbox,
    ) -> Result<(), ErrorReply> {
        let blobs = self.blobs()?;
        let traffic = &mut self.registered().blobs;
        traffic.upload_away = true;
        let Upload { mut file, gathered } = traffic.upload.take().ok_or_else(no_upload)?;
        self.start(out, Duration::ZERO, move || {
            file.write(&blobs, &gathered);
            if end.is_some() {
                file.file = None;
            }
            Completion::Upload(Box::new(Uploaded { file, end }))
        });
        Ok(())
    }

    pub(super) fn uploaded(&mut self, uploaded: Uploaded) {
        let Some(registered) = &mut self.registered else { return };
        registered.blobs.upload_away = false;
        match uploaded.end {
            None => registered.blobs.upload = Some(Upload { file: uploaded.file, gathered: Vec::new() }),
            // The transaction cannot have ended meanwhile but with the connection: no request was taken.
            Some((oid, key)) => {
                if let Ok(transaction) = self.collecting(&key) {
                    transaction.attach_blob(oid, uploaded.file);
                }
            }
        }
    }

    /// The client has put the blob into the object's own directory, under this name.
    pub(super) fn store_blob_shared(
        &mut self,
        oid: Oid,
        serial: Serial,
        data: &[u8],
        name: &str,
        key: TransactionKey,
        out: &mut Outbox,
    ) -> Result<(), ErrorReply> {
        self.collecting(&key)?;
        let blobs = self.blobs()?;
        let is_temporary = name.ends_with(".tmp")
            || name.char_indices().last().is_some_and(|(last, _)| name[..last].ends_with(".tmp"));
        if name.contains('/') || !is_temporary {
            tracing::error!(client = %self.client.name(), name, "a bad file name for a blob: an attack?");
            return Err(ErrorReply::Value(name.to_owned()));
        }
        let stored = self.collecting(&key)?.store(oid, serial, data);
        stored.map_err(super::errors::transaction_error)?;
        self.registered().blobs.upload_away = true;
        let name = name.to_owned();
        self.start(out, Duration::ZERO, move || {
            let file = UploadedBlob::shared(&blobs, oid, &name);
            Completion::Upload(Box::new(Uploaded { file, end: Some((oid, key)) }))
        });
        Ok(())
    }

    pub(super) fn send_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        if let Err(error) = self.blobs() {
            return self.answer(&call, Err(error), out);
        }
        self.registered().blobs.downloads.push_back(Download { call, oid, serial, begun: false, file: None });
        self.resume(out);
        Ok(())
    }

    /// Reads on for the client's downloads. Called when the client has taken what was sent before.
    pub(crate) fn resume(&mut self, out: &mut Outbox) {
        let Some(registered) = &mut self.registered else { return };
        if registered.blobs.download_away {
            return;
        }
        let Some(download) = registered.blobs.downloads.front_mut() else { return };
        let Some(blobs) = registered.service.storage().blobs().cloned() else { return };
        let (oid, serial, file) = (download.oid, download.serial, download.file.take());
        registered.blobs.download_away = true;
        self.start(out, Duration::ZERO, move || Completion::Download(read_on(&blobs, oid, serial, file)));
    }

    pub(super) fn downloaded(&mut self, downloaded: Downloaded, out: &mut Outbox) -> Result<(), CloseReason> {
        let encoder = self.encoder;
        let traffic = &mut self.registered().blobs;
        traffic.download_away = false;
        let download = traffic.downloads.front_mut().expect("its job was under way");
        let (oid, serial) = (download.oid, download.serial);
        let result = match downloaded.result {
            Ok(chunks) => {
                if !download.begun {
                    download.begun = true;
                    encoder.receive_blob_start(&mut out.bytes, oid, serial);
                }
                for chunk in chunks.chunks(CHUNK_BYTES) {
                    encoder.receive_blob_chunk(&mut out.bytes, oid, serial, chunk);
                }
                if chunks.len() == CHUNK_BYTES * CHUNKS_AHEAD {
                    download.file = downloaded.file;
                    return Ok(()); // resumed when the client has taken these
                }
                encoder.receive_blob_stop(&mut out.bytes, oid, serial);
                Ok(Value::None)
            }
            Err(error) => Err(error),
        };
        let call = traffic.downloads.pop_front().expect("looked at just above").call;
        self.answer(&call, result, out)
    }
}

fn no_upload() -> ErrorReply {
    ErrorReply::Type("storeBlobChunk or storeBlobEnd without a storeBlobStart".to_owned())
}

/// Opens the blob, if it is not open yet, and reads the next chunks.
fn read_on(blobs: &BlobStore, oid: Oid, serial: Tid, file: Option<File>) -> Downloaded {
    let path = blobs.path(oid, serial);
    let file = match file.map_or_else(|| File::open(&path), Ok) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("No blob file at {}", path.display());
            return Downloaded { file: None, result: Err(ErrorReply::PosKeyBlob { message, oid, serial }) };
        }
        Err(error) => return Downloaded { file: None, result: Err(super::errors::storage_error(error)) },
    };
    let mut chunks = Vec::with_capacity(CHUNK_BYTES * CHUNKS_AHEAD);
    let read = (&file).take((CHUNK_BYTES * CHUNKS_AHEAD) as u64).read_to_end(&mut chunks);
    Downloaded { file: Some(file), result: read.map(|_| chunks).map_err(super::errors::storage_error) }
}
