//! Peer connections over TCP: each record behind its length (u16, big-endian).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::warn;

use super::transport::{RECORD_BYTES_MAX, RecordSink, RecordSource, Transport};

use crate::world;
use crate::world::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

/// Idle time after which the kernel asks whether the peer is still there, and how often it asks again. (The connection's
/// own pings find out sooner; this is for one that is not yet, or no longer, driven.)
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Queued bytes beyond which a flush is due. Measured best of 64 KiB to 1 MiB.
const BATCH_BYTES: usize = 256 << 10;
/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;
/// Bytes of a record's length.
const LENGTH_BYTES: usize = 2;

/// A TCP connection to a peer.
pub struct TcpTransport {
    stream: TcpStream,
    remote: String,
}

impl TcpTransport {
    /// Connects to `HOST:PORT`, trying each of the host's addresses, within `limit`.
    pub async fn connect(host_and_port: &str, limit: Duration) -> io::Result<Self> {
        let stream =
            tokio::time::timeout(limit, TcpStream::connect(host_and_port)).await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}"))
            })??;
        Ok(Self::new(stream))
    }

    /// A connection that was made or accepted.
    pub fn new(stream: TcpStream) -> Self {
        if let Err(error) = world::prepare(&stream, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL) {
            warn!(%error, "a socket option could not be set");
        }
        let remote = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
        Self { stream, remote }
    }
}

impl Transport for TcpTransport {
    type Sink = TcpSink;
    type Source = TcpSource;

    fn remote(&self) -> String {
        self.remote.clone()
    }

    fn split(self) -> (TcpSink, TcpSource) {
        let (read, write) = self.stream.into_split();
        let source = TcpSource { read, buffer: vec![0; READ_BYTES], start: 0, end: 0 };
        (TcpSink { write, buffer: Vec::new(), end: 0, sent: 0 }, source)
    }
}

/// The sending half of a TCP connection.
pub struct TcpSink {
    write: OwnedWriteHalf,
    /// Never shrinks, so that only its growth is zeroed.
    buffer: Vec<u8>,
    /// How much of `buffer` is queued.
    end: usize,
    /// How much of that is sent.
    sent: usize,
}

impl RecordSink for TcpSink {
    fn has_room(&self) -> bool {
        self.end < BATCH_BYTES
    }

    fn push(&mut self, bytes_max: usize, fill: impl FnOnce(&mut [u8]) -> usize) {
        assert!(bytes_max <= RECORD_BYTES_MAX, "a record is at most {RECORD_BYTES_MAX} bytes");
        let start = self.end + LENGTH_BYTES;
        if self.buffer.len() < start + bytes_max {
            self.buffer.resize(start + bytes_max, 0);
        }
        let length = fill(&mut self.buffer[start..start + bytes_max]);
        assert!((1..=bytes_max).contains(&length), "a record is 1 to {bytes_max} bytes, not {length}");
        let prefix = u16::try_from(length).expect("a record's length fits").to_be_bytes();
        self.buffer[self.end..start].copy_from_slice(&prefix);
        self.end = start + length;
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.end {
            let count = self.write.write(&self.buffer[self.sent..self.end]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent += count;
        }
        self.sent = 0;
        self.end = 0;
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.write.shutdown().await
    }
}

/// The receiving half of a TCP connection.
pub struct TcpSource {
    read: OwnedReadHalf,
    buffer: Vec<u8>,
    /// What is received and not yet taken: `start..end`.
    start: usize,
    end: usize,
}

impl RecordSource for TcpSource {
    async fn next(&mut self, bytes_max: usize) -> io::Result<Option<&[u8]>> {
        loop {
            let received = &self.buffer[self.start..self.end];
            let mut wanted = LENGTH_BYTES;
            if let [high, low, rest @ ..] = received {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length == 0 || length > bytes_max {
                    let message =
                        format!("a record of {length} bytes, where at most {bytes_max} are allowed");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                if rest.len() >= length {
                    let start = self.start + LENGTH_BYTES;
                    self.start = start + length;
                    return Ok(Some(&self.buffer[start..start + length]));
                }
                wanted += length;
            }
            if self.start == self.end || self.buffer.len() - self.start < wanted {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match self.read.read(&mut self.buffer[self.end..]).await? {
                0 if self.start == self.end => return Ok(None),
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a record is cut off")),
                count => self.end += count,
            }
        }
    }
}
