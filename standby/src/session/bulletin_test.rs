//! What a client is told of its cluster.

use std::sync::Arc;

use zeo_proto::client_side::{Incoming, decode_incoming, encode_call};
use zeo_proto::{Encoding, Limits, MsgId, Value, frame};

use super::{Outbox, Session};
use crate::server::{ConnectionLimits, Served};
use crate::service::Service;
use crate::service::clients::Client;
use crate::service::mailbox::mailbox;

fn served(folder: &tempfile::TempDir) -> Arc<Served> {
    Arc::new(Served::new([Service::for_tests(folder)], Encoding::Pickle, ConnectionLimits::default()))
}

const NOTHING: [i64; 0] = [];

/// What the answers and pushes in these frames say of the cluster.
fn told(encoding: Encoding, mut bytes: &[u8]) -> Vec<i64> {
    let mut told = Vec::new();
    while let Some((payload, length)) = frame::peek(bytes, u32::MAX).expect("whole frames") {
        let value = match decode_incoming(encoding, payload, &Limits::default()).expect("a message") {
            Incoming::Call { method, mut args } if method == "info" => args.remove(0),
            Incoming::Reply { result, .. } => result,
            other => panic!("{other:?}"),
        };
        if let Some(Value::Int(number)) = value.item("standby") {
            told.push(*number);
        }
        bytes = &bytes[length..];
    }
    told
}

#[test]
fn a_client_is_told_of_the_newest_only_and_of_none_twice() {
    for encoding in [Encoding::Pickle, Encoding::Msgpack] {
        let folder = tempfile::tempdir().expect("a folder");
        let served = served(&folder);
        let service = served.storage("1").expect("the one").clone();
        let (sender, _inbox) = mailbox();
        let client = Arc::new(Client::new("client".to_owned()));
        let mut session = Session::new(served, encoding, sender, client, false);
        let ask = |session: &mut Session, method: &str, args: &[Value<'_>]| {
            let (mut call, mut out) = (Vec::new(), Outbox::default());
            encode_call(encoding, &mut call, &MsgId::Int(1), false, method, args);
            session.receive(&call[4..], &mut out).expect("it goes on");
            told(encoding, &out.bytes)
        };
        let catch_up = |session: &mut Session| {
            let mut out = Outbox::default();
            session.catch_up(&mut out).expect("it goes on");
            told(encoding, &out.bytes)
        };
        service.announce(Value::Int(1));
        assert_eq!(catch_up(&mut session), NOTHING, "it is not registered");
        ask(&mut session, "register", &[Value::Str("1".into()), Value::Bool(false)]);
        assert_eq!(ask(&mut session, "get_info", &[]), [1]);
        assert_eq!(catch_up(&mut session), NOTHING, "it was told");
        for number in 2..=9 {
            service.announce(Value::Int(number)); // it does not read
        }
        assert_eq!(catch_up(&mut session), [9]);
        assert_eq!(catch_up(&mut session), NOTHING);
        drop(session);
        service.close().expect("closed");
    }
}
