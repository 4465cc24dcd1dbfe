//! What carries a peer connection: an ordered, reliable pipe of records.
//!
//! Records and not bytes, because both kinds of carrier can then do without copies of their own: TCP encrypts into its
//! write buffer and decrypts out of its read buffer; RDMA does the same with registered memory, where a record is one send.

use std::future::Future;
use std::io;

/// The longest record, in bytes: what Noise allows.
pub const RECORD_BYTES_MAX: usize = 65_535;

/// A connection that is not yet secured.
pub trait Transport: Send + 'static {
    /// Its sending half.
    type Sink: RecordSink;
    /// Its receiving half.
    type Source: RecordSource;

    /// The other end's address, for people.
    fn remote(&self) -> String;

    /// The two halves, which are used from different tasks.
    fn split(self) -> (Self::Sink, Self::Source);
}

/// Where records are sent.
pub trait RecordSink: Send + 'static {
    /// Whether another record fits before a flush.
    fn has_room(&self) -> bool;

    /// Queues one record. `fill` writes it in place and returns its length, which is 1 to `bytes_max`.
    fn push(&mut self, bytes_max: usize, fill: impl FnOnce(&mut [u8]) -> usize);

    /// Hands everything that is queued to the network.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Says that no record follows.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Where records are received.
pub trait RecordSource: Send + 'static {
    /// The next record, valid until the next call; `None` where the other side has finished. A record longer than
    /// `bytes_max` (at most [`RECORD_BYTES_MAX`]) or empty is an error of kind [`io::ErrorKind::InvalidData`], and one that
    /// is cut off, of kind [`io::ErrorKind::UnexpectedEof`]. May be dropped before it is ready without losing anything.
    fn next(&mut self, bytes_max: usize) -> impl Future<Output = io::Result<Option<&[u8]>>> + Send;
}
