//! What goes over the connection of a client: commands out, replies and pushes in, in the order in which they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::connection::Connection;
use super::push::Push;
use super::session::{Command, Effect};
use super::shared::Shared;
use super::{Conflict, Dialer, Error, Invalidations, Refused, Revision, calls};
use crate::client_side::{
    Incoming, Loaded, decode_incoming, decode_invalidated, decode_loaded, encode_call, encode_load,
};
use crate::{Limits, MsgId, Oid, Tid, Value};

/// While more is unsent, in bytes, no further command is taken.
const UNSENT_BYTES_MAX: usize = 1 << 20;
/// So many times the server is listened to in [`Options::silence`](super::Options::silence).
const TICKS: u32 = 4;
/// The number of pings, which no call has.
const PING: i64 = 0x7fff_ffff;

type Loads = BTreeMap<(Oid, Tid), Vec<oneshot::Sender<Result<Option<Revision>, Error>>>>;

pub(super) struct Traffic<'a> {
    pub(super) connection: Connection,
    pub(super) shared: &'a Shared,
    pub(super) dialer: &'a mut Dialer,
    calls: BTreeMap<i64, Waiting>,
    loads: Loads,
}

struct Waiting {
    effect: Effect,
    reply: oneshot::Sender<Result<Value<'static>, Error>>,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(connection: Connection, shared: &'a Shared, dialer: &'a mut Dialer) -> Self {
        Self { connection, shared, dialer, calls: BTreeMap::new(), loads: BTreeMap::new() }
    }

    /// Goes on until the connection is gone; returns why. Those who wait for answers are told, and so are those whose
    /// commands were not taken.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Error {
        let why = self.go_on(&mut commands).await;
        let told: Arc<str> = why.to_string().into();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            let gone = Error::Disconnected(Arc::clone(&told));
            match command {
                Command::Load { reply, .. } => drop(reply.send(Err(gone))),
                Command::Call { reply, .. } => drop(reply.send(Err(gone))),
                Command::Post { .. } => {}
            }
        }
        for waiting in self.calls.into_values() {
            let error = match waiting.effect {
                Effect::Finished(_) => Error::OutcomeUnknown(Arc::clone(&told)),
                Effect::Nothing | Effect::Voted => Error::Disconnected(Arc::clone(&told)),
            };
            let _ = waiting.reply.send(Err(error));
        }
        for reply in self.loads.into_values().flatten() {
            let _ = reply.send(Err(Error::Disconnected(Arc::clone(&told))));
        }
        why
    }

    async fn go_on(&mut self, commands: &mut mpsc::Receiver<Command>) -> Error {
        let mut ticks =
            tokio::time::interval(self.shared.options.silence.max(Duration::from_millis(4)) / TICKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut received, mut silent) = (self.connection.received(), 0);
        loop {
            let has_room = self.connection.unsent() < UNSENT_BYTES_MAX;
            let done = tokio::select! {
                command = commands.recv(), if has_room => match command {
                    Some(command) => {
                        self.send(command);
                        // What else is there goes out with it.
                        while self.connection.unsent() < UNSENT_BYTES_MAX
                            && let Ok(command) = commands.try_recv()
                        {
                            self.send(command);
                        }
                        Ok(())
                    }
                    None => Err(Error::disconnected("nobody calls")),
                },
                frame = self.connection.frame() => frame.and_then(|frame| self.receive(&frame)),
                _ = ticks.tick() => {
                    silent = if self.connection.received() == received { silent + 1 } else { 0 };
                    received = self.connection.received();
                    match silent {
                        0 => Ok(()),
                        1..TICKS => { self.ping(); Ok(()) }
                        _ => Err(Error::disconnected("the server is silent")),
                    }
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    fn ping(&mut self) {
        let (encoding, ping) = (self.connection.encoding(), calls::ping());
        encode_call(encoding, self.connection.output(), &MsgId::Int(PING), false, ping.method, &ping.args);
    }

    fn send(&mut self, command: Command) {
        let encoding = self.connection.encoding();
        match command {
            Command::Load { oid, before, reply } => {
                let waiting = self.loads.entry((oid, before)).or_default();
                if waiting.is_empty() {
                    encode_load(encoding, self.connection.output(), oid, before);
                }
                waiting.push(reply);
            }
            Command::Call { frames, number, effect, reply } => {
                self.connection.output().extend_from_slice(&frames);
                self.calls.insert(number, Waiting { effect, reply });
            }
            Command::Post { frames } => self.connection.output().extend_from_slice(&frames),
        }
    }

    fn receive(&mut self, frame: &[u8]) -> Result<(), Error> {
        let encoding = self.connection.encoding();
        if let Some(loaded) = decode_loaded(encoding, frame) {
            self.loaded(&loaded);
            return Ok(());
        }
        if let Some((tid, oids)) = decode_invalidated(encoding, frame) {
            self.shared.invalidated(Invalidations { tid, oids });
            return Ok(());
        }
        match decode_incoming(encoding, frame, &Limits::REPLIES).map_err(Error::protocol)? {
            Incoming::Call { method, args } => {
                if let Some(push) = Push::of(&method, &args)? {
                    take_push(self.shared, self.dialer, push);
                }
                Ok(())
            }
            Incoming::Reply { msgid, result } => self.answered(msgid, Ok(result.into_owned())),
            Incoming::Error { msgid, class, args } => {
                let refused = Arc::new(Refused { class, args: args.into_owned() });
                self.answered(msgid, Err(Error::Refused(refused)))
            }
        }
    }

    fn loaded(&mut self, loaded: &Loaded<'_>) {
        // A frame is part of a larger buffer, which the cache must not keep.
        let data = Bytes::copy_from_slice(loaded.data);
        let revision = Revision { data, serial: loaded.serial, end: loaded.end };
        self.shared.cache().store(loaded.oid, revision.clone());
        for reply in self.loads.remove(&(loaded.oid, loaded.before)).into_iter().flatten() {
            let _ = reply.send(Ok(Some(revision.clone())));
        }
    }

    fn answered(&mut self, msgid: MsgId, answer: Result<Value<'static>, Error>) -> Result<(), Error> {
        match msgid {
            MsgId::Int(PING) => Ok(()),
            MsgId::Int(number) => match self.calls.remove(&number) {
                Some(waiting) => self.call_answered(waiting, answer),
                None => Err(Error::protocol(format!("an answer to call {number}, which nobody made"))),
            },
            MsgId::Load(oid, before) => {
                for reply in self.loads.remove(&(oid, before)).into_iter().flatten() {
                    let none = match &answer {
                        Ok(Value::None) => Ok(None),
                        Ok(_) => Err(Error::protocol("the answer to loadBefore")),
                        Err(error) => Err(error.clone()),
                    };
                    let _ = reply.send(none);
                }
                Ok(())
            }
            MsgId::Other(other) => Err(Error::protocol(format!("an answer to {other:?}"))),
        }
    }

    fn call_answered(&self, waiting: Waiting, answer: Result<Value<'static>, Error>) -> Result<(), Error> {
        let mut end = Ok(());
        match (waiting.effect, &answer) {
            (Effect::Nothing, _) => {}
            (Effect::Voted, answer) => {
                let mut cache = self.shared.cache();
                conflicts(answer).for_each(|conflict| cache.forget(conflict.oid));
            }
            (Effect::Finished(objects), Ok(value)) => {
                if let Some(tid) = value.as_tid() {
                    self.shared.committed(tid, objects);
                }
            }
            // What became of it shows when the cache is compared with the server's history.
            (Effect::Finished(_), Err(error)) => {
                end = Err(Error::disconnected(format!("a transaction could not be finished: {error}")));
            }
        }
        let _ = waiting.reply.send(answer);
        end
    }
}

/// The conflicts that a vote has told, as a result or as an exception.
fn conflicts(answer: &Result<Value<'static>, Error>) -> impl Iterator<Item = Conflict> {
    let told = answer.as_ref().ok().and_then(Value::as_sequence).unwrap_or_default();
    let refused = answer.as_ref().err().and_then(Error::refused).and_then(Refused::conflict);
    told.iter().filter_map(Conflict::of).chain(refused)
}

/// Applies what a server tells by itself.
pub(super) fn take_push(shared: &Shared, dialer: &mut Dialer, push: Push) {
    if let Some(view) = push.view() {
        dialer.see(view);
        dialer.view().into_iter().for_each(|view| shared.set_view(view));
    }
    if let Push::Invalidated(told) = push {
        shared.invalidated(told);
    }
}
