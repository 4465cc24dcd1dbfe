//! Clients that commit while the server is shot, and remember what they were promised.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid, Value};

use crate::driver::{Committer, Written, is_refused};

/// Objects that each client writes in every transaction.
const OBJECTS: usize = 10;
/// Length of every record.
const RECORD_BYTES: usize = 120;

/// One client: its objects, and what became of its transactions.
#[derive(Debug, Clone)]
pub struct Witness {
    name: u64,
    oids: Vec<Oid>,
    /// Transactions that are known to be committed, in order.
    committed: Vec<Written>,
    /// How many it has begun. The last may be committed without its knowledge.
    begun: u64,
}

impl Witness {
    /// A client that has done nothing yet, with objects of its own.
    pub fn new(name: u64) -> Self {
        let first = (name + 1) << 20;
        let oids = (first..first + OBJECTS as u64).map(Oid::new).collect();
        Self { name, oids, committed: Vec::new(), begun: 0 }
    }

    /// Commits until the server is gone, and counts what was acknowledged in `acknowledged` too.
    ///
    /// # Errors
    /// The server answered with an exception.
    pub async fn commit_until_cut_off(
        &mut self,
        address: SocketAddr,
        acknowledged: Arc<AtomicU64>,
    ) -> Result<()> {
        let Ok(connection) = Connection::open(address).await else { return Ok(()) };
        let serial = self.committed.last().map_or(Tid::ZERO, |written| written.tid);
        let mut committer = Committer::new(connection, self.name, self.oids.clone(), RECORD_BYTES, serial);
        committer.count_from(self.begun);
        loop {
            self.begun += 1;
            match committer.commit().await {
                Ok(written) => {
                    self.committed.push(written);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if is_refused(&error) => return Err(error),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Forgets what was committed after `last`: the file was cut there.
    pub fn forget_after(&mut self, last: Tid) {
        self.committed.retain(|written| written.tid <= last);
    }

    /// Looks through a new connection whether everything promised is there: every transaction acknowledged since the
    /// last `known` ones with all its data, and nothing of an unacknowledged one but the whole.
    ///
    /// # Errors
    /// Something is missing, or there in part.
    pub async fn check(&mut self, connection: &mut Connection, known: usize) -> Result<()> {
        for written in self.committed.iter().skip(known) {
            self.check_transaction(connection, written).await?;
        }
        let mut serials = Vec::new();
        for oid in &self.oids {
            serials.push(match connection.call("getTid", &[Value::from(*oid)]).await {
                Ok(tid) => Some(tid.as_tid().context("getTid returns a tid")?),
                Err(error) if error.refused().is_some() && self.committed.is_empty() => None,
                Err(error) => return Err(error).context(format!("getTid of {oid}")),
            });
        }
        serials.dedup();
        let [current] = serials[..] else {
            bail!("client {}: a transaction in part: {serials:?}", self.name)
        };
        let last = self.committed.last().map(|written| written.tid);
        if current != last {
            // Only the transaction that was under way can have been committed without our knowledge.
            let tid = current.context("acknowledged transactions are gone")?;
            ensure!(Some(tid) > last, "client {}: {tid} is current, {last:?} was acknowledged", self.name);
            let written = Written { tid, number: self.begun };
            self.check_transaction(connection, &written).await?;
            self.committed.push(written);
        }
        Ok(())
    }

    async fn check_transaction(&self, connection: &mut Connection, written: &Written) -> Result<()> {
        for (place, oid) in self.oids.iter().enumerate() {
            let expected = Committer::record(self.name, written.number, place, RECORD_BYTES);
            let data = connection
                .call("loadSerial", &[Value::from(*oid), Value::from(written.tid)])
                .await
                .with_context(|| format!("client {}: {oid} of {written:?}", self.name))?;
            ensure!(
                data.as_bytes() == Some(&expected),
                "client {}: {oid} of {written:?} is not what was written",
                self.name
            );
        }
        Ok(())
    }

    /// How many transactions are known to be committed.
    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    /// The objects that it writes.
    pub fn oids(&self) -> impl Iterator<Item = Oid> {
        self.oids.iter().copied()
    }

    /// A line for each known transaction: tid, client, number.
    pub fn ledger(&self) -> String {
        self.ledger_from(0)
    }

    /// The same without the first `known` ones.
    pub fn ledger_from(&self, known: usize) -> String {
        self.committed[known..].iter().map(|w| format!("{} {} {}\n", w.tid, self.name, w.number)).collect()
    }
}

/// The whole transactions at the front of a FileStorage file, in order: tid and end. Stops at what is torn.
///
/// # Errors
/// The file cannot be read or is no FileStorage.
pub fn whole_transactions(path: &std::path::Path) -> Result<Vec<(Tid, u64)>> {
    let bytes = std::fs::read(path)?;
    ensure!(bytes.starts_with(b"FS30"), "not a FileStorage");
    let number =
        |at: usize| bytes.get(at..at + 8).and_then(|b| b.first_chunk::<8>()).map(|b| u64::from_be_bytes(*b));
    let mut transactions = Vec::new();
    let mut position = 4;
    while let (Some(tid), Some(length)) = (number(position), number(position + 8)) {
        let end = position.saturating_add(usize::try_from(length)?);
        if tid == 0 || length < 23 || bytes.get(position + 16) == Some(&b'c') || number(end) != Some(length) {
            break;
        }
        position = end + 8;
        transactions.push((Tid::new(tid), position as u64));
    }
    Ok(transactions)
}
