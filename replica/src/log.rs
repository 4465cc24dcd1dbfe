use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::CutOff;
use crate::format::{BACK_POINTER, RECORD_HEADER, RecordHead, TRANSACTION_HEADER, TransactionHead, number};
use crate::world;
use crate::world::fs::File;
use crate::{Oid, ReadError, ReadMode, Tid, TransactionHeader};

/// How much of a record's data is read along with its header.
const GUESS: usize = 598;

/// Reading the log at positions. Knows nothing of where it ends: who asks, has a position from the index or from
/// another record.
pub(crate) struct LogFile {
    file: File,
    /// The filesystem cannot say whether a read would wait.
    always_waits: AtomicBool,
    /// What lies behind this is not what it was.
    cut_off_at: AtomicU64,
}

impl LogFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, always_waits: AtomicBool::new(false), cut_off_at: AtomicU64::new(u64::MAX) }
    }

    /// The file is about to be cut off here, and to be written anew from here on, by others: what is read from now on
    /// behind that is refused.
    pub(crate) fn cut_off_at(&self, position: u64) {
        self.cut_off_at.store(position, Ordering::SeqCst);
    }

    /// How many of the bytes that were read at a position are what was there. Asked after each read: had they changed
    /// before that, the log was cut off before that.
    fn kept(&self, position: u64, read: usize) -> usize {
        let left = self.cut_off_at.load(Ordering::SeqCst).saturating_sub(position);
        left.min(read as u64) as usize
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Reads the header of the record of `oid` at `position`, and the first bytes of what follows it into
    /// `buffer`, which is cleared first. [`LogFile::complete`] reads the rest.
    pub(crate) fn record(
        &self,
        oid: Oid,
        position: u64,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<RecordHead, ReadError> {
        let mut header = [0; RECORD_HEADER];
        buffer.clear();
        buffer.resize(GUESS, 0);
        let read = match mode {
            ReadMode::Cached => {
                let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
                self.read_cached(&mut parts, position)?
            }
            ReadMode::MayBlock => {
                let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
                self.read_parts(&mut parts, position)?
            }
        };
        buffer.truncate(read.saturating_sub(RECORD_HEADER));
        if read < RECORD_HEADER {
            // Fewer bytes than there are, or than are in memory.
            if mode == ReadMode::Cached {
                return Err(ReadError::WouldBlock);
            }
            if self.read_fully(&mut header, position)? < RECORD_HEADER {
                return Err(ReadError::corrupt(position, format!("the log ends within a record of {oid}")));
            }
            buffer.clear();
        }
        let head = RecordHead::decode(&header).expect("a whole header");
        check_owner(&head, oid, position)?;
        Ok(head)
    }

    /// Makes `buffer`, as [`LogFile::record`] left it, hold the record's data, or its back pointer.
    pub(crate) fn complete(
        &self,
        head: &RecordHead,
        position: u64,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let length = body_length(head, position)?;
        let have = buffer.len();
        if have >= length {
            buffer.truncate(length);
            return Ok(());
        }
        let rest_position = position + (RECORD_HEADER + have) as u64;
        if length - have > 1 << 20 {
            // Do not make room for what a damaged length claims and the file does not have.
            let file_length = self.file.metadata()?.len();
            if rest_position.saturating_add((length - have) as u64) > file_length {
                return Err(ReadError::corrupt(position, "the record is longer than the log"));
            }
        }
        buffer.resize(length, 0);
        let rest = &mut buffer[have..];
        let wanted = rest.len();
        let read = match mode {
            ReadMode::Cached => self.read_cached(&mut [IoSliceMut::new(rest)], rest_position)?,
            ReadMode::MayBlock => self.read_fully(rest, rest_position)?,
        };
        if read == wanted {
            return Ok(());
        }
        buffer.clear();
        match mode {
            ReadMode::Cached => Err(ReadError::WouldBlock),
            ReadMode::MayBlock => Err(ReadError::corrupt(position, "the log ends within a record")),
        }
    }

    /// The header alone of the record of `oid` at `position`.
    pub(crate) fn record_head(
        &self,
        oid: Oid,
        position: u64,
        mode: ReadMode,
    ) -> Result<RecordHead, ReadError> {
        Ok(self.record_head_and_back(oid, position, mode)?.0)
    }

    /// The header of the record of `oid` at `position`, and where it has no data the position that it points back
    /// to (0 for none).
    pub(crate) fn record_head_and_back(
        &self,
        oid: Oid,
        position: u64,
        mode: ReadMode,
    ) -> Result<(RecordHead, u64), ReadError> {
        let mut bytes = [0; RECORD_HEADER + BACK_POINTER];
        let read = match mode {
            ReadMode::Cached => self.read_cached(&mut [IoSliceMut::new(&mut bytes)], position)?,
            ReadMode::MayBlock => self.read_fully(&mut bytes, position)?,
        };
        if read < bytes.len() {
            // Even the shortest record is followed by a redundant length.
            return match mode {
                ReadMode::Cached => Err(ReadError::WouldBlock),
                ReadMode::MayBlock => Err(ReadError::corrupt(position, "the log ends within a record")),
            };
        }
        let head = RecordHead::decode(&bytes).expect("a whole header");
        check_owner(&head, oid, position)?;
        let back = if head.data_length == 0 { number(&bytes, RECORD_HEADER) } else { 0 };
        check_earlier("back pointer", back, position)?;
        check_earlier("previous record", head.previous, position)?;
        Ok((head, back))
    }

    /// Follows back pointers from the record at `position` (0 for none) to the data. `false`: there are none.
    pub(crate) fn data_at(
        &self,
        oid: Oid,
        mut position: u64,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        while position != 0 {
            let head = self.record(oid, position, mode, buffer)?;
            self.complete(&head, position, mode, buffer)?;
            if head.data_length != 0 {
                return Ok(true);
            }
            let back = number(buffer, 0);
            check_earlier("back pointer", back, position)?;
            position = back;
        }
        buffer.clear();
        Ok(false)
    }

    /// The header of the transaction at `position`, with user, description and extension.
    pub(crate) fn transaction_header(&self, position: u64) -> Result<TransactionHeader, ReadError> {
        let mut bytes = vec![0; 512];
        let read = self.read_fully(&mut bytes, position)?;
        bytes.truncate(read);
        let Some(head) = TransactionHead::decode(&bytes) else {
            return Err(ReadError::corrupt(position, "the log ends within a transaction"));
        };
        let length = head.header_length() as usize;
        if bytes.len() < length {
            bytes.resize(length, 0);
            if self.read_fully(&mut bytes, position)? < length {
                return Err(ReadError::corrupt(position, "the log ends within a transaction"));
            }
        }
        Ok(header_of(&head, &bytes[TRANSACTION_HEADER..length], position))
    }

    /// The tid of the transaction at `position`.
    pub(crate) fn transaction_head(&self, position: u64) -> Result<TransactionHead, ReadError> {
        let mut bytes = [0; TRANSACTION_HEADER];
        self.read_fully(&mut bytes, position)?;
        TransactionHead::decode(&bytes)
            .filter(|head| head.tid > Tid::ZERO)
            .ok_or_else(|| ReadError::corrupt(position, "no transaction is here"))
    }

    /// Where the transaction begins that ends, with its redundant length, at `end`.
    pub(crate) fn start_of_transaction_before(&self, end: u64) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        let at = end - 8;
        self.read_fully(&mut bytes, at)?;
        let length = u64::from_be_bytes(bytes);
        match at.checked_sub(length) {
            Some(start) if start >= crate::format::LOG_START && length >= TRANSACTION_HEADER as u64 => {
                Ok(start)
            }
            _ => Err(ReadError::corrupt(at, format!("a transaction of {length} bytes cannot end here"))),
        }
    }

    /// Reads until `bytes` is full or the file ends; says how much.
    pub(crate) fn read_fully(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.kept(position, done) < done {
            return Err(io::Error::other(CutOff));
        }
        Ok(done)
    }

    fn read_cached(&self, parts: &mut [IoSliceMut<'_>], position: u64) -> Result<usize, ReadError> {
        if !self.always_waits.load(Ordering::Relaxed) {
            match world::read_cached_parts_at(&self.file, parts, position) {
                Ok(Some(read)) => return Ok(self.kept(position, read)),
                Ok(None) => return Err(ReadError::WouldBlock),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.always_waits.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
        Ok(self.read_parts(parts, position)?)
    }

    fn read_parts(&self, parts: &mut [IoSliceMut<'_>], position: u64) -> io::Result<usize> {
        Ok(self.kept(position, world::read_parts_at(&self.file, parts, position)?))
    }
}

/// The record at a position must be of the object that is looked for.
fn check_owner(head: &RecordHead, oid: Oid, position: u64) -> Result<(), ReadError> {
    if head.oid == oid {
        return Ok(());
    }
    Err(ReadError::corrupt(position, format!("a record of {oid} should be here, not of {}", head.oid)))
}

fn body_length(head: &RecordHead, position: u64) -> Result<usize, ReadError> {
    if head.data_length == 0 {
        return Ok(BACK_POINTER);
    }
    usize::try_from(head.data_length)
        .ok()
        .filter(|length| *length <= isize::MAX as usize / 2)
        .ok_or_else(|| ReadError::corrupt(position, "the record is longer than any memory"))
}

/// Pointers lead backwards, so that following them comes to an end.
pub(crate) fn check_earlier(what: &str, pointer: u64, position: u64) -> Result<(), ReadError> {
    if pointer < position {
        return Ok(());
    }
    Err(ReadError::corrupt(position, format!("{what} at {pointer} is not earlier")))
}

/// The header with its variable part.
pub(crate) fn header_of(head: &TransactionHead, metadata: &[u8], position: u64) -> TransactionHeader {
    let (user, rest) = metadata.split_at(usize::from(head.user_length));
    let (description, extension) = rest.split_at(usize::from(head.description_length));
    TransactionHeader {
        tid: head.tid,
        status: head.status,
        user: user.to_vec(),
        description: description.to_vec(),
        extension: extension.to_vec(),
        position,
        length: head.length,
    }
}
