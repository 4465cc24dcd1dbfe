use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::calls;
use super::session::{Effect, Session};
use super::{Client, Error, Metadata, Vote};
use crate::client_side::{encode_call, encode_store};
use crate::{MsgId, Oid, Serial, Tid, Value};

/// A transaction: what it is to write is collected here, and sent with the vote. If it is dropped before its end, it is
/// given up.
///
/// It belongs to one connection. When that is lost the transaction is over, with one of two errors:
/// [`Error::Disconnected`] says that nothing of it is committed; [`Error::OutcomeUnknown`] that nobody here can tell.
#[derive(Debug)]
pub struct Transaction {
    /// Keeps the connection, also when nobody else has the client any more.
    _client: Client,
    session: Arc<Session>,
    /// For the time of the transaction no other of this connection begins.
    turn: Option<OwnedSemaphorePermit>,
    id: i64,
    frames: Vec<u8>,
    written: BTreeMap<Oid, Option<Bytes>>,
    /// The server knows of it, and waits for its end.
    is_open: bool,
}

impl Transaction {
    pub(super) fn new(
        client: Client,
        session: Arc<Session>,
        turn: OwnedSemaphorePermit,
        metadata: &Metadata,
    ) -> Self {
        let id = session.next_number();
        let (turn, frames, written) = (Some(turn), Vec::new(), BTreeMap::new());
        let mut transaction = Self { _client: client, session, turn, id, frames, written, is_open: false };
        let begin = calls::begin(id, metadata);
        transaction.post(begin.method, &begin.args);
        transaction
    }

    /// Its number, which calls that belong to it have as their last argument.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Writes an object: its record, and the revision that this is based on; `None` for a new object.
    pub fn store(&mut self, oid: Oid, serial: Serial, data: &[u8]) {
        encode_store(self.session.encoding, &mut self.frames, oid, serial, data, self.id);
        self.written.insert(oid, Some(Bytes::copy_from_slice(data)));
    }

    /// Is only to be committed if this revision is still the current one.
    pub fn check_current(&mut self, oid: Oid, serial: Tid) {
        let args = [Value::from(oid), Value::from(serial), Value::Int(self.id)];
        self.post("checkCurrentSerialInTransaction", &args);
    }

    /// Removes an object, for garbage collection from outside.
    pub fn delete(&mut self, oid: Oid, serial: Tid) {
        self.post("deleteObject", &[Value::from(oid), Value::from(serial), Value::Int(self.id)]);
        self.written.insert(oid, None);
    }

    /// Undoes a transaction, by the name that [`calls::undo_log`] gives.
    pub fn undo(&mut self, name: &[u8]) {
        self.post("undoa", &[Value::from(name), Value::Int(self.id)]);
    }

    /// Any other call that wants no answer, such as those that carry a blob.
    pub fn post(&mut self, method: &str, args: &[Value<'_>]) {
        encode_call(self.session.encoding, &mut self.frames, &MsgId::NONE, true, method, args);
    }

    /// First phase: sends everything. The server waits for the locks of the objects, and keeps them. With conflicts in
    /// the answer, the caller may store those objects again and vote again, or give up.
    ///
    /// # Errors
    /// The server refuses (a check that fails, an undo that is not possible, no space): it has given the transaction up.
    /// Or the connection is gone.
    pub async fn vote(&mut self) -> Result<Vote, Error> {
        let frames = std::mem::take(&mut self.frames);
        self.is_open = true;
        let vote = self.session.ask(frames, calls::vote(self.id), Effect::Voted).await?;
        vote.changed.iter().for_each(|oid| drop(self.written.insert(*oid, None)));
        Ok(vote)
    }

    /// Second phase, after a vote without conflicts: the number that the transaction has, once it is durable.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if the connection is lost, or the server fails, on the way. [`Error::Refused`] if the
    /// server has no such transaction, or it was not voted for.
    pub async fn finish(mut self) -> Result<Tid, Error> {
        self.is_open = false;
        let effect = Effect::Finished(std::mem::take(&mut self.written));
        match self.session.ask(Vec::new(), calls::finish(self.id), effect).await {
            Ok(Some(tid)) => Ok(tid),
            Ok(None) => Err(Error::disconnected("the server knows of no such transaction")),
            Err(Error::Refused(refused)) if !CERTAIN.iter().any(|name| refused.is(name)) => {
                Err(Error::OutcomeUnknown(refused.to_string().into()))
            }
            Err(Error::Protocol(what)) => Err(Error::OutcomeUnknown(what)),
            Err(error) => Err(error),
        }
    }

    /// Both phases.
    ///
    /// # Errors
    /// Those of the phases; [`Error::Conflict`] when others were faster.
    pub async fn commit(mut self) -> Result<Tid, Error> {
        match self.vote().await {
            Ok(vote) if vote.conflicts.is_empty() => self.finish().await,
            Ok(vote) => Err(Error::Conflict(vote.conflicts)),
            Err(Error::Refused(refused)) => Err(match refused.conflict() {
                Some(conflict) => Error::Conflict(vec![conflict]),
                None => Error::Refused(refused),
            }),
            Err(error) => Err(error),
        }
    }
}

/// What a server refuses to finish with these, it has not begun to commit.
const CERTAIN: [&str; 3] = ["StorageTransactionError", "AssertionError", "ReadOnlyError"];

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (mut frames, abort) = (Vec::new(), calls::abort(self.id));
        encode_call(self.session.encoding, &mut frames, &MsgId::NONE, true, abort.method, &abort.args);
        // Before the next one has its turn.
        if let Some(frames) = self.session.post(frames) {
            let (session, turn) = (Arc::clone(&self.session), self.turn.take());
            tokio::spawn(async move {
                let _ = session.post_later(frames).await;
                drop(turn);
            });
        }
    }
}
