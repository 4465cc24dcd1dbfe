//! A peer connection within the process, for tests.

use std::io;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::transport::{RECORD_BYTES_MAX, RecordSink, RecordSource, Transport};

/// Records that a pipe holds before its sender waits.
const RECORDS_MAX: usize = 4;

/// One end of a connection within the process.
pub struct MemoryTransport {
    sender: Sender<Vec<u8>>,
    receiver: Receiver<Vec<u8>>,
}

/// The two ends of a connection.
pub fn pair() -> (MemoryTransport, MemoryTransport) {
    let (to_right, from_left) = channel(RECORDS_MAX);
    let (to_left, from_right) = channel(RECORDS_MAX);
    (
        MemoryTransport { sender: to_right, receiver: from_right },
        MemoryTransport { sender: to_left, receiver: from_left },
    )
}

impl Transport for MemoryTransport {
    type Sink = MemorySink;
    type Source = MemorySource;

    fn remote(&self) -> String {
        "memory".to_owned()
    }

    fn split(self) -> (MemorySink, MemorySource) {
        let sink = MemorySink { sender: Some(self.sender), queued: Vec::new() };
        (sink, MemorySource { receiver: self.receiver, record: Vec::new() })
    }
}

/// The sending half.
pub struct MemorySink {
    sender: Option<Sender<Vec<u8>>>,
    queued: Vec<Vec<u8>>,
}

impl RecordSink for MemorySink {
    fn has_room(&self) -> bool {
        self.queued.is_empty()
    }

    fn push(&mut self, bytes_max: usize, fill: impl FnOnce(&mut [u8]) -> usize) {
        assert!(bytes_max <= RECORD_BYTES_MAX, "a record is at most {RECORD_BYTES_MAX} bytes");
        let mut record = vec![0; bytes_max];
        let length = fill(&mut record);
        assert!((1..=bytes_max).contains(&length), "a record is 1 to {bytes_max} bytes, not {length}");
        record.truncate(length);
        self.queued.push(record);
    }

    async fn flush(&mut self) -> io::Result<()> {
        for record in self.queued.drain(..) {
            let sender = self.sender.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            sender.send(record).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.sender = None;
        Ok(())
    }
}

/// The receiving half.
pub struct MemorySource {
    receiver: Receiver<Vec<u8>>,
    record: Vec<u8>,
}

impl RecordSource for MemorySource {
    async fn next(&mut self, bytes_max: usize) -> io::Result<Option<&[u8]>> {
        let Some(record) = self.receiver.recv().await else { return Ok(None) };
        if record.is_empty() || record.len() > bytes_max {
            let message =
                format!("a record of {} bytes, where at most {bytes_max} are allowed", record.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.record = record;
        Ok(Some(&self.record))
    }
}
