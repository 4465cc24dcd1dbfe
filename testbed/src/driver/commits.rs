use anyhow::{Context, Result, ensure};
use zeo_proto::client::{Connection, Metadata, Vote, calls};
use zeo_proto::client_side::encode_store;
use zeo_proto::{Oid, Tid};

use super::record;

/// A transaction that the server has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What `tpc_finish` returned.
    pub tid: Tid,
    /// The number of the transaction among its committer's. With the object's place, it says what the records are.
    pub number: u64,
}

/// Commits transactions to objects of its own, again and again, with the right serials.
#[derive(Debug)]
pub struct Committer {
    connection: Connection,
    name: u64,
    oids: Vec<Oid>,
    record_bytes: usize,
    serial: Tid,
    number: u64,
}

impl Committer {
    /// A committer to these objects, which are new, or have the revision `serial`. `name` and the number of a
    /// transaction say what is in it.
    pub fn new(connection: Connection, name: u64, oids: Vec<Oid>, record_bytes: usize, serial: Tid) -> Self {
        Self { connection, name, oids, record_bytes, serial, number: 0 }
    }

    /// Counts its transactions on from this number.
    pub fn count_from(&mut self, number: u64) {
        self.number = number;
    }

    /// The record that the transaction `number` of the committer `name` writes to its object at `place`.
    pub fn record(name: u64, number: u64, place: usize, record_bytes: usize) -> Vec<u8> {
        record(record_bytes, (name << 48) ^ (number << 12) ^ place as u64)
    }

    /// One transaction, as a stock client sends it: `tpc_begin`, the stores and `vote` in one go, then `tpc_finish`.
    /// Its description is `NAME NUMBER`.
    ///
    /// # Errors
    /// The connection is gone, or the server refuses something. Whether the transaction was committed is then open.
    pub async fn commit(&mut self) -> Result<Written> {
        self.number += 1;
        let id = i64::try_from(self.number)?;
        let description = format!("{} {}", self.name, self.number).into_bytes();
        let metadata = Metadata { user: b"driver".to_vec(), description, extension: Vec::new() };
        self.connection.post_call(&calls::begin(id, &metadata));
        let encoding = self.connection.encoding();
        for (place, oid) in self.oids.iter().enumerate() {
            let data = Self::record(self.name, self.number, place, self.record_bytes);
            let serial = Some(self.serial);
            encode_store(encoding, self.connection.output(), *oid, serial, &data, id);
        }
        let vote = self.connection.ask(calls::vote(id)).await?;
        ensure!(vote == Vote::default(), "{vote:?}");
        self.serial = self.connection.ask(calls::finish(id)).await?.context("it knows the transaction")?;
        Ok(Written { tid: self.serial, number: self.number })
    }
}
