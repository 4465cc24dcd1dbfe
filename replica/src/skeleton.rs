#![allow(missing_docs, clippy::unimplemented, unused_variables)]
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::*;

#[derive(Clone)]
pub struct Storage;
impl Storage {
    pub fn open(
        path: &Path,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<(Storage, OpenReport), OpenError> {
        unimplemented!()
    }
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    pub fn is_read_only(&self) -> bool {
        unimplemented!()
    }
    pub fn last_tid(&self) -> Tid {
        unimplemented!()
    }
    pub fn checksum(&self) -> Checksum {
        unimplemented!()
    }
    pub fn object_count(&self) -> u64 {
        unimplemented!()
    }
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    pub fn max_oid(&self) -> Oid {
        unimplemented!()
    }
    pub fn load_before(
        &self,
        oid: Oid,
        before: Tid,
        mode: ReadMode,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Revision>, ReadError> {
        unimplemented!()
    }
    pub fn load_serial(&self, oid: Oid, serial: Tid, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        unimplemented!()
    }
    pub fn current(&self, oid: Oid, mode: ReadMode) -> Result<Option<Current>, ReadError> {
        unimplemented!()
    }
    pub fn history(&self, oid: Oid, size: usize) -> Result<Vec<HistoryEntry>, ReadError> {
        unimplemented!()
    }
    pub fn next_record(
        &self,
        from: Option<Oid>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<NextRecord>, ReadError> {
        unimplemented!()
    }
    pub fn transactions(&self, start: Option<Tid>, stop: Option<Tid>) -> Result<Transactions, ReadError> {
        unimplemented!()
    }
    pub fn records(&self, of: &TransactionHeader) -> Records {
        unimplemented!()
    }
    pub fn undo_log(
        &self,
        skip: usize,
        limit: usize,
        wanted: &mut dyn FnMut(&TransactionHeader) -> bool,
    ) -> Result<Vec<TransactionHeader>, ReadError> {
        unimplemented!()
    }
    pub fn changed_since(&self, tid: Tid, limit_oids: usize) -> Result<Changed, ReadError> {
        unimplemented!()
    }
    pub fn recent_transactions(&self, count: usize) -> Result<Vec<(Tid, Vec<Oid>)>, ReadError> {
        unimplemented!()
    }
    pub fn begin(&self) -> Transaction {
        unimplemented!()
    }
    pub fn transaction_oids(&self, tid: Tid) -> Result<Vec<Oid>, UndoError> {
        unimplemented!()
    }
    pub fn undo(&self, tid: Tid, transaction: &mut Transaction) -> Result<Vec<Oid>, UndoError> {
        unimplemented!()
    }
    pub fn resolve_back_pointer(&self, oid: Oid, data_tid: Tid, data: &[u8]) -> Result<bool, ReadError> {
        unimplemented!()
    }
    pub fn reserve(&self, transaction: &Transaction) -> Result<Reservation, ReserveError> {
        unimplemented!()
    }
    pub fn start_committer(&self, publish: Arc<dyn Publish>) -> Committer {
        unimplemented!()
    }
    pub fn close(self) -> Result<(), CloseError> {
        unimplemented!()
    }
}
pub struct Transactions;
impl Iterator for Transactions {
    type Item = Result<TransactionHeader, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
pub struct Records;
impl Iterator for Records {
    type Item = Result<Record, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
pub struct Transaction;
impl Transaction {
    pub fn set_metadata(
        &mut self,
        user: &[u8],
        description: &[u8],
        extension: &[u8],
    ) -> Result<(), TransactionError> {
        unimplemented!()
    }
    pub fn set_tid(&mut self, tid: Tid) {
        unimplemented!()
    }
    pub fn tid(&self) -> Option<Tid> {
        unimplemented!()
    }
    pub fn set_status(&mut self, status: u8) {
        unimplemented!()
    }
    pub fn store(&mut self, oid: Oid, data: &[u8]) -> Result<(), TransactionError> {
        unimplemented!()
    }
    pub fn store_as(&mut self, oid: Oid, data_tid: Tid) -> Result<(), TransactionError> {
        unimplemented!()
    }
    pub fn delete(&mut self, oid: Oid) -> Result<(), TransactionError> {
        unimplemented!()
    }
    pub fn data(&self, oid: Oid) -> Result<Option<Cow<'_, [u8]>>, TransactionError> {
        unimplemented!()
    }
    pub fn oids(&self) -> impl Iterator<Item = Oid> {
        std::iter::empty()
    }
    pub fn len_bytes(&self) -> u64 {
        unimplemented!()
    }
    pub fn clear_records(&mut self) {
        unimplemented!()
    }
}
pub struct Reservation;
pub trait Publish: Send + Sync + 'static {
    fn published(&self, batch: Vec<Committed>);
    fn failed(&self, tag: u64, error: &CommitError);
}
#[derive(Clone)]
pub struct Committer;
impl Committer {
    pub fn commit(&self, tag: u64, transaction: Transaction, reservation: Reservation) {
        unimplemented!()
    }
    pub fn stop(&self) {
        unimplemented!()
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub position: u64,
    pub what: String,
}
#[derive(Clone, Debug)]
pub struct VerifyReport {
    pub transactions: u64,
    pub records: u64,
    pub objects: u64,
    pub last_tid: Tid,
    pub checksum: Checksum,
    pub problems: Vec<Problem>,
}
pub fn verify(path: &Path, progress: &dyn Progress) -> Result<VerifyReport, ReadError> {
    unimplemented!()
}
