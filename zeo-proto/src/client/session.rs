use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::calls::Call;
use super::{Address, Error, Revision};
use crate::client_side::encode_call;
use crate::{Encoding, MsgId, Oid, Tid, Value};

/// So many commands may wait for the task of a connection.
const COMMANDS_MAX: usize = 256;

/// A connection that is used, as those see it who call over it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) address: Address,
    pub(super) encoding: Encoding,
    commands: mpsc::Sender<Command>,
    last_number: AtomicI64,
    /// A connection has one transaction at a time.
    pub(super) turn: Arc<Semaphore>,
}

/// What the task of a connection is to do.
#[derive(Debug)]
pub(super) enum Command {
    /// `loadBefore`. Equal ones share one request.
    Load { oid: Oid, before: Tid, reply: oneshot::Sender<Result<Option<Revision>, Error>> },
    /// Frames, the last of which is a call of this number.
    Call {
        frames: Vec<u8>,
        number: i64,
        effect: Effect,
        reply: oneshot::Sender<Result<Value<'static>, Error>>,
    },
    /// Frames that want no answer.
    Post { frames: Vec<u8> },
}

/// What an answer changes in the cache, at its place in the connection's order.
#[derive(Debug, Default)]
pub(super) enum Effect {
    #[default]
    Nothing,
    /// What is in conflict is not current.
    Voted,
    /// These objects are as of the transaction that is answered.
    Finished(BTreeMap<Oid, Option<Bytes>>),
}

impl Session {
    pub(super) fn new(address: Address, encoding: Encoding) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (last_number, turn) = (AtomicI64::new(1 << 32), Arc::new(Semaphore::new(1)));
        (Self { address, encoding, commands, last_number, turn }, receiver)
    }

    /// Whether its connection is gone.
    pub(super) fn is_over(&self) -> bool {
        self.commands.is_closed()
    }

    /// A number that no other call or transaction of this connection has.
    pub(super) fn next_number(&self) -> i64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) async fn load(&self, oid: Oid, before: Tid) -> Result<Option<Revision>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Load { oid, before, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Sends these frames and the call.
    pub(super) async fn ask<T>(
        &self,
        mut frames: Vec<u8>,
        call: Call<'_, T>,
        effect: Effect,
    ) -> Result<T, Error> {
        let number = self.next_number();
        encode_call(self.encoding, &mut frames, &MsgId::Int(number), false, call.method, &call.args);
        let (reply, answer) = oneshot::channel();
        let finishes = matches!(effect, Effect::Finished(_));
        self.send(Command::Call { frames, number, effect, reply }).await?;
        // The task was dropped, with the runtime: what it had sent nobody knows.
        let lost = |_| Err(if finishes { Error::OutcomeUnknown(GONE.into()) } else { gone() });
        let value = answer.await.unwrap_or_else(lost)?;
        (call.answer)(value).ok_or_else(|| Error::protocol(format!("the answer to {}", call.method)))
    }

    /// Sends frames that want no answer, if there is room for them now; else gives them back.
    pub(super) fn post(&self, frames: Vec<u8>) -> Option<Vec<u8>> {
        match self.commands.try_send(Command::Post { frames }) {
            Err(mpsc::error::TrySendError::Full(Command::Post { frames })) => Some(frames),
            _ => None,
        }
    }

    /// The same when there is room.
    pub(super) async fn post_later(&self, frames: Vec<u8>) -> Result<(), Error> {
        self.send(Command::Post { frames }).await
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| gone())
    }
}

const GONE: &str = "the connection is gone";

fn gone() -> Error {
    Error::disconnected(GONE)
}
