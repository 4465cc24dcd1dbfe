//! From a frame to the method that it calls.

use std::sync::Arc;

use zeo_proto::{Body, ErrorReply, Limits, Request, Value, decode_request};

use super::two_phase::{Beginning, Phase, oid_value, tid_value};
use super::{Call, CloseReason, Outbox, Registered, Session};
use crate::service::Service;
use crate::service::clients::{Client, Registration};

/// Ids that one `new_oids` hands out at the most.
const NEW_OIDS_MAX: i64 = 100;

impl Session {
    /// Takes one frame from the client.
    pub(crate) fn receive(&mut self, frame: &[u8], out: &mut Outbox) -> Result<(), CloseReason> {
        let message = decode_request(self.encoding, frame, &Limits::default())?;
        let (msgid, oneway) = (message.msgid, message.oneway);
        let request = match message.body {
            Body::Request(Request::LoadBefore { oid, before }) if self.registered.is_some() => {
                return self.load_before(msgid, oneway, oid, before, out);
            }
            Body::Request(request) => request,
            Body::KeepAlive => return Ok(()),
            Body::UnknownMethod(name) => return Err(CloseReason::UnknownMethod(name.into_owned())),
            Body::BadArguments { method, error } => {
                if self.registered.is_none() && method != "register" {
                    return Err(CloseReason::NotRegistered(method));
                }
                return self.answer(&Call { msgid, oneway, method }, Err(error), out);
            }
        };
        let call = Call { msgid, oneway, method: request.method() };
        match (&self.registered, request) {
            (None, Request::Register { storage, read_only }) => {
                let result = self.register(&storage, read_only);
                self.answer(&call, result, out)
            }
            (Some(_), Request::Register { .. }) => Err(CloseReason::RegisteredTwice),
            (None, _) => Err(CloseReason::NotRegistered(call.method)),
            (Some(_), request) => self.dispatch(call, request, out),
        }
    }

    fn register(&mut self, storage: &Value<'_>, read_only: bool) -> Result<Value<'static>, ErrorReply> {
        let service = match storage {
            Value::Str(name) => self.served.storage(name).cloned(),
            _ => None,
        };
        let Some(service) = service else {
            let shown = match storage {
                Value::Str(name) => name.to_string(),
                Value::Bytes(bytes) => super::iteration::python_bytes(bytes),
                other => format!("{other:?}"),
            };
            return Err(ErrorReply::Value(format!("unknown storage: {shown}")));
        };
        if !read_only && (self.read_only || service.is_read_only()) {
            return Err(ErrorReply::ReadOnly);
        }
        let registration = Registration { client: self.client.clone(), read_only };
        let (session, sequence, view) = service.join(self.mailbox.clone(), registration);
        let client = self.client.clone();
        self.registered = Some(Registered::new(service, client, session, read_only, sequence, view));
        Ok(tid_value(view))
    }

    fn dispatch(&mut self, call: Call, request: Request<'_>, out: &mut Outbox) -> Result<(), CloseReason> {
        let result = match request {
            Request::Register { .. } | Request::LoadBefore { .. } => unreachable!("handled in receive"),
            Request::GetInfo => Ok(super::information::storage_info(&self.registered().service)),
            Request::LastTransaction => Ok(tid_value(self.registered().view)),
            Request::GetInvalidations { tid } => {
                let view = self.registered().view;
                self.answer_as_of(call, out, move |service| (view, invalidations(service, tid, view)));
                return Ok(());
            }
            Request::NewOids { n } => self.new_oids(n),
            Request::NewOid => {
                Err(ErrorReply::Attribute("'ZEOStorage' object has no attribute 'new_oid'".to_owned()))
            }
            Request::LoadSerial { oid, serial } => {
                self.answer_as_of(call, out, move |service| {
                    let mut data = Vec::new();
                    let loaded = service.storage().load_serial(oid, serial, &mut data);
                    let result = loaded.map(|()| Value::Bytes(data.into()));
                    (serial.min(service.storage().last_tid()), result.map_err(super::errors::read_error))
                });
                return Ok(());
            }
            Request::GetTid { oid } => {
                self.answer_as_of(call, out, move |service| get_tid(service, oid));
                return Ok(());
            }
            Request::History { oid, size } => {
                self.answer_away(call, out, move |service| super::information::history(service, oid, size));
                return Ok(());
            }
            Request::RecordIternext { next } => {
                self.record_iternext(next, call, out);
                return Ok(());
            }
            Request::UndoLog { first, last } => {
                self.answer_away(call, out, move |service| super::undo::undo_log(service, first, last, None));
                return Ok(());
            }
            Request::UndoInfo { first, last, specification } => {
                let specification: Option<super::undo::Specification> = specification
                    .map(|items| items.into_iter().map(|(key, value)| (key, value.into_owned())).collect());
                self.answer_away(call, out, move |service| {
                    super::undo::undo_log(service, first, last, specification.as_ref())
                });
                return Ok(());
            }
            Request::TpcBegin { id, user, description, extension, tid, status } => {
                let beginning =
                    Beginning { user: &user, description: &description, extension: &extension, tid, status };
                self.tpc_begin(id, beginning).map(none)
            }
            Request::StoreA { oid, serial, data, id } => self.storing(&id, |transaction| {
                transaction.store(oid, serial, &data).map_err(super::errors::transaction_error)
            }),
            Request::RestoreA { oid, data, prev_txn, id, .. } => self.storing(&id, |transaction| {
                transaction.restore(oid, data.as_deref(), prev_txn).map_err(super::errors::transaction_error)
            }),
            Request::DeleteObject { oid, serial, id } => self.storing(&id, |transaction| {
                transaction.delete(oid, serial).map_err(super::errors::transaction_error)
            }),
            Request::CheckCurrentSerialInTransaction { oid, serial, id } => {
                self.collecting(&id).map(|transaction| transaction.check_current(oid, serial)).map(none)
            }
            Request::UndoA { transaction: name, id } => {
                let tid = super::undo::undo_tid(&name);
                self.collecting(&id).map(|transaction| transaction.undo(tid)).map(none)
            }
            Request::Vote { id } => return self.vote(&id, call, out),
            Request::TpcFinish { id } => return self.tpc_finish(&id, call, out),
            Request::TpcAbort { id } => self.tpc_abort(&id).map(none),
            Request::IteratorStart { start, stop } => self.iterator_start(start, stop),
            Request::IteratorNext { iid } => return self.iterator_next(iid, call, out),
            Request::IteratorRecordStart { txn_iid, tid } => self.iterator_record_start(txn_iid, tid),
            Request::IteratorRecordNext { iid } => return self.iterator_record_next(iid, call, out),
            Request::IteratorGc { iids } => {
                self.iterator_gc(&iids);
                Ok(Value::None)
            }
            Request::Pack { time, wait } => return self.pack(time, wait, call, out),
            Request::StoreBlobStart => self.store_blob_start().map(none),
            Request::StoreBlobChunk { chunk } => self.store_blob_chunk(&chunk, out).map(none),
            Request::StoreBlobEnd { oid, serial, data, id } => {
                self.store_blob_end(oid, serial, &data, id, out).map(none)
            }
            Request::StoreBlobShared { oid, serial, data, filename, id } => {
                self.store_blob_shared(oid, serial, &data, &filename, id, out).map(none)
            }
            Request::SendBlob { oid, serial } => return self.send_blob(oid, serial, call, out),
            Request::ServerStatus => Ok(super::status::server_status(&self.registered().service)),
            Request::SetClientLabel { label } => {
                self.set_label(&label);
                Ok(Value::None)
            }
            Request::Ping => Ok(Value::None),
        };
        self.answer(&call, result, out)
    }

    /// A call that adds a record to the transaction.
    fn storing(
        &mut self,
        id: &zeo_proto::TransactionKey,
        add: impl FnOnce(&mut super::transaction::PendingTransaction) -> Result<(), ErrorReply>,
    ) -> Result<Value<'static>, ErrorReply> {
        add(self.collecting(id)?)?;
        self.registered().client.counts.stores.add_one();
        Ok(Value::None)
    }

    fn new_oids(&mut self, n: i64) -> Result<Value<'static>, ErrorReply> {
        let registered = self.registered();
        if registered.read_only {
            return Err(ErrorReply::ReadOnly);
        }
        let count = n.clamp(1, NEW_OIDS_MAX) as usize;
        let oids = registered.service.oids().allocate(count).map_err(|_| {
            super::errors::storage_error("no new object ids right now: the lease does not allow more")
        })?;
        Ok(Value::List(oids.into_iter().map(oid_value).collect()))
    }
}

impl Registered {
    fn new(
        service: Service,
        client: Arc<Client>,
        session: crate::service::publications::SessionId,
        read_only: bool,
        sequence: u64,
        view: zeo_proto::Tid,
    ) -> Self {
        // The client asks for this one itself, with `get_info`.
        let bulletin = service.bulletin().version();
        Self {
            service,
            client,
            session,
            read_only,
            sequence,
            view,
            loads: Default::default(),
            deferred: Vec::new(),
            iterators: Default::default(),
            blobs: Default::default(),
            phase: Phase::Idle,
            ballots: 0,
            bulletin,
            buffer: Vec::new(),
        }
    }
}

fn invalidations(
    service: &Service,
    tid: zeo_proto::Tid,
    view: zeo_proto::Tid,
) -> Result<Value<'static>, ErrorReply> {
    let changed = service.invalidations(tid, view).map_err(super::errors::read_error)?;
    Ok(changed.map_or(Value::None, |oids| {
        let oids = oids.into_iter().map(oid_value).collect();
        Value::Tuple(vec![tid_value(view), Value::List(oids)])
    }))
}

/// The current revision, as of the transaction that wrote it.
fn get_tid(service: &Service, oid: zeo_proto::Oid) -> (zeo_proto::Tid, Result<Value<'static>, ErrorReply>) {
    match service.storage().current(oid, replica::ReadMode::MayBlock) {
        Ok(Some(current)) if current.deleted => (current.serial, Err(ErrorReply::PosKey(oid))),
        Ok(Some(current)) => (current.serial, Ok(tid_value(current.serial))),
        Ok(None) => (zeo_proto::Tid::ZERO, Err(ErrorReply::PosKey(oid))),
        Err(error) => (zeo_proto::Tid::ZERO, Err(super::errors::read_error(error))),
    }
}

/// A call whose result is Python's `None`.
fn none((): ()) -> Value<'static> {
    Value::None
}
