//! `pack`: any client may ask for it, a read-only one too, as at the stock server.

use std::time::{Duration, UNIX_EPOCH};

use replica::PackError;
use zeo_proto::{ErrorReply, Tid, Value};

use super::two_phase::oid_value;
use super::{Answer, Call, CloseReason, Completion, Outbox, Session};

impl Session {
    /// Packs to a time in seconds since 1970. The reply comes at the end if the client waits for it, else at once.
    pub(super) fn pack(
        &mut self,
        seconds: f64,
        wait: bool,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let Ok(since_epoch) = Duration::try_from_secs_f64(seconds.max(0.0)) else {
            let error = ErrorReply::Value(format!("no time to pack to: {seconds}"));
            return self.answer(&call, Err(error), out);
        };
        let until = Tid::from_time(UNIX_EPOCH + since_epoch);
        let client = self.client.name();
        let waiting = wait.then(|| call.clone());
        let service = self.registered().service.clone();
        self.start(out, Duration::ZERO, move || {
            tracing::info!(%client, %until, "pack");
            let result = service.pack(until).map(|_| Value::None).map_err(pack_error);
            match (waiting, result) {
                // The sizes have been pushed before the reply: both come through the session's inbox, in this order.
                (Some(call), result) => Completion::Answer(Answer { call, as_of: Tid::ZERO, result }),
                (None, Ok(_)) => Completion::Nothing,
                (None, Err(error)) => {
                    tracing::warn!(?error, "a pack that nobody waits for failed");
                    Completion::Nothing
                }
            }
        });
        if wait { Ok(()) } else { self.answer(&call, Ok(Value::None), out) }
    }
}

fn pack_error(error: PackError) -> ErrorReply {
    match error {
        PackError::Missing { oid, .. } => ErrorReply::Key(oid_value(oid)),
        PackError::InProgress => ErrorReply::Other {
            class: "ZODB.FileStorage.FileStorage.FileStorageError".to_owned(),
            args: vec![Value::Str("Already packing".into())],
        },
        PackError::ReadOnly => ErrorReply::ReadOnly,
        other => super::errors::storage_error(other),
    }
}
