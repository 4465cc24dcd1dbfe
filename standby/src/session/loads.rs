//! `loadBefore`: the hot path.
//!
//! A load is answered at once where neither its position nor its data has to be waited for; else from a job. A
//! load under way in a job may be overtaken by a transaction that changes its object. Its answer, computed as of
//! the view at its start, would then follow the invalidation, and the client would cache stale data as current:
//! such a load is done again.

use replica::{ReadError, ReadMode, Revision, Storage};
use zeo_proto::{ErrorReply, MsgId, Oid, Tid, Value};

use super::{CloseReason, Completion, Outbox, Session};

use crate::world::HashMap;

/// The loads of a session that are under way in jobs.
#[derive(Default)]
pub(super) struct PendingLoads {
    next: u64,
    under_way: HashMap<u64, PendingLoad>,
}

struct PendingLoad {
    msgid: MsgId,
    oneway: bool,
    oid: Oid,
    before: Tid,
    overtaken: bool,
}

/// A load that a job has done.
pub(crate) struct LoadedAway {
    token: u64,
    data: Vec<u8>,
    outcome: Outcome,
}

enum Outcome {
    Revision(Revision),
    NothingBefore,
    Failed(ErrorReply),
    NeedsDisk,
}

impl PendingLoads {
    /// A transaction changed these objects: what is being loaded of them is not current any more.
    pub(super) fn invalidate(&mut self, oids: &[Oid]) {
        if self.under_way.is_empty() {
            return;
        }
        for load in self.under_way.values_mut() {
            load.overtaken |= oids.contains(&load.oid);
        }
    }

    fn add(&mut self, load: PendingLoad) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, load);
        self.next
    }
}

impl Session {
    pub(super) fn load_before(
        &mut self,
        msgid: MsgId,
        oneway: bool,
        oid: Oid,
        before: Tid,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let registered = self.registered.as_mut().expect("checked in dispatch: the session is registered");
        registered.client.counts.loads.add_one();
        if registered.service.options().load_delay.is_zero() {
            let storage = registered.service.storage();
            let outcome =
                load_as_of(storage, registered.view, oid, before, ReadMode::Cached, &mut registered.buffer);
            if !matches!(outcome, Outcome::NeedsDisk) {
                let data = std::mem::take(&mut registered.buffer);
                let written = self.write_load(&msgid, oneway, &data, outcome, out);
                self.registered().buffer = data;
                return written;
            }
        }
        let load = PendingLoad { msgid, oneway, oid, before, overtaken: false };
        self.load_away(load, out);
        Ok(())
    }

    fn load_away(&mut self, load: PendingLoad, out: &mut Outbox) {
        let registered = self.registered();
        let (oid, before, view) = (load.oid, load.before, registered.view);
        let service = registered.service.clone();
        let token = registered.loads.add(load);
        self.start(out, service.options().load_delay, move || {
            let mut data = Vec::new();
            let outcome = load_as_of(service.storage(), view, oid, before, ReadMode::MayBlock, &mut data);
            Completion::Load(LoadedAway { token, data, outcome })
        });
    }

    pub(super) fn loaded_away(&mut self, loaded: LoadedAway, out: &mut Outbox) -> Result<(), CloseReason> {
        let pending = self.registered().loads.under_way.remove(&loaded.token);
        let mut load = pending.expect("a load ends once");
        if load.overtaken {
            load.overtaken = false;
            self.load_away(load, out);
            Ok(())
        } else {
            self.write_load(&load.msgid, load.oneway, &loaded.data, loaded.outcome, out)
        }
    }

    fn write_load(
        &self,
        msgid: &MsgId,
        oneway: bool,
        data: &[u8],
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        match outcome {
            Outcome::Failed(error) if oneway => {
                return Err(CloseReason::FailedCall { method: "loadBefore", error: Box::new(error) });
            }
            _ if oneway => {}
            Outcome::Revision(Revision { serial, end }) => {
                self.encoder.reply_load(&mut out.bytes, msgid, data, serial, end);
            }
            Outcome::NothingBefore => self.encoder.reply(&mut out.bytes, msgid, &Value::None),
            Outcome::Failed(error) => self.encoder.error(&mut out.bytes, msgid, &error),
            Outcome::NeedsDisk => unreachable!("a load that may block does not ask to"),
        }
        Ok(())
    }
}

/// What `loadBefore` says as of the transaction `view`, whatever was committed since.
fn load_as_of(
    storage: &Storage,
    view: Tid,
    oid: Oid,
    before: Tid,
    mode: ReadMode,
    buffer: &mut Vec<u8>,
) -> Outcome {
    let bound = before.min(view.next());
    match storage.load_before(oid, bound, mode, buffer) {
        Ok(Some(Revision { serial, end })) => {
            Outcome::Revision(Revision { serial, end: end.filter(|end| *end <= view) })
        }
        // Created after the view: as of the view, there is no such object.
        Ok(None) if bound < before => Outcome::Failed(ErrorReply::PosKey(oid)),
        Ok(None) => Outcome::NothingBefore,
        Err(ReadError::WouldBlock) => Outcome::NeedsDisk,
        Err(error) => Outcome::Failed(super::errors::read_error(error)),
    }
}
