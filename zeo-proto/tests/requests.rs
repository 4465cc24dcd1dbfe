//! Requests as stock clients encode them.
//!
//! ```text
//! python -c "from ZEO.asyncio.marshal import encoder; print(encoder(b'Z5')(MSGID, FLAG, METHOD, ARGS))"
//! ```
//! and with `b'M5'`.

use std::borrow::Cow;

use zeo_proto::{
    Body, Encoding, ErrorReply, Limits, Message, MsgId, Oid, Request, Tid, Value, decode_request,
};

const OID: Oid = Oid::new(1);
const SERIAL: Tid = Tid::new(2);
const ID: i64 = 140234567890123;

fn bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(bytes)
}

fn request(msgid: i64, request: Request<'_>) -> Message<'_> {
    Message { msgid: MsgId::Int(msgid), oneway: false, body: Body::Request(request) }
}

fn oneway(request: Request<'_>) -> Message<'_> {
    Message { msgid: MsgId::NONE, oneway: true, body: Body::Request(request) }
}

fn wrong(msgid: i64, method: &'static str, text: &str) -> Message<'static> {
    let error = ErrorReply::Type(text.into());
    Message { msgid: MsgId::Int(msgid), oneway: false, body: Body::BadArguments { method, error } }
}

fn messages() -> Vec<(&'static [u8], &'static [u8], Message<'static>)> {
    vec![
        (
            b"\x80\x03(K\x01\x89X\x08\0\0\0registerX\x01\0\0\x001\x89\x86t.",
            b"\x94\x01\xc2\xa8register\x92\xa11\xc2",
            request(1, Request::Register { storage: "1".into(), read_only: false }),
        ),
        (
            b"\x80\x03(C\x08\0\0\0\0\0\0\0\x01C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\x86\x89X\n\
          \0\0\0loadBeforeC\x08\0\0\0\0\0\0\0\x01C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\x86\
          t.",
            b"\x94\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\x7f\xff\xff\xff\xff\xff\xff\xff\xc2\xaa\
          loadBefore\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\x7f\xff\xff\xff\xff\xff\xff\xff",
            Message {
                msgid: MsgId::Load(OID, Tid::MAX),
                oneway: false,
                body: Body::Request(Request::LoadBefore { oid: OID, before: Tid::MAX }),
            },
        ),
        (
            b"\x80\x03(K\x07\x89X\n\0\0\0loadBeforeC\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\0\0\x02\
          \x86t.",
            b"\x94\x07\xc2\xaaloadBefore\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02",
            request(7, Request::LoadBefore { oid: OID, before: SERIAL }),
        ),
        (
            b"\x80\x03(K\0\x88X\x09\0\0\0tpc_begin(\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7fC\x04userX\x06\
          \0\0\0te\xc3\xa9xt}X\x01\0\0\0xK\x01sNX\x01\0\0\0 tt.",
            b"\x94\0\xc3\xa9tpc_begin\x96\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb\xc4\x04user\xa6te\xc3\
          \xa9xt\x81\xa1x\x01\xc0\xa1 ",
            oneway(Request::TpcBegin {
                id: ID.into(),
                user: bytes(b"user"),
                description: bytes("teéxt".as_bytes()),
                extension: Value::Dict(vec![("x".into(), Value::Int(1))]),
                tid: None,
                status: b' ',
            }),
        ),
        (
            b"\x80\x03(K\0\x88X\x09\0\0\0tpc_begin(\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7fC\0C\0}C\x08\
          \0\0\0\0\0\0\0\x02X\x01\0\0\0ptt.",
            b"\x94\0\xc3\xa9tpc_begin\x96\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb\xc4\0\xc4\0\x80\xc4\x08\
          \0\0\0\0\0\0\0\x02\xa1p",
            oneway(Request::TpcBegin {
                id: ID.into(),
                user: bytes(b""),
                description: bytes(b""),
                extension: Value::Dict(vec![]),
                tid: Some(SERIAL),
                status: b'p',
            }),
        ),
        (
            b"\x80\x03(K\x0b\x89X\x09\0\0\0tpc_begin(K\x05C\0C\0}tt.",
            b"\x94\x0b\xc2\xa9tpc_begin\x94\x05\xc4\0\xc4\0\x80",
            request(
                11,
                Request::TpcBegin {
                    id: 5.into(),
                    user: bytes(b""),
                    description: bytes(b""),
                    extension: Value::Dict(vec![]),
                    tid: None,
                    status: b' ',
                },
            ),
        ),
        (
            b"\x80\x03(K\0\x88X\x06\0\0\0storea(C\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\0\0\x02\
          C\x04data\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7ftt.",
            b"\x94\0\xc3\xa6storea\x94\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02\xc4\
          \x04data\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            oneway(Request::StoreA { oid: OID, serial: Some(SERIAL), data: bytes(b"data"), id: ID.into() }),
        ),
        (
            b"\x80\x03(K\0\x88X\x06\0\0\0storea(C\x08\0\0\0\0\0\0\0\x01NC\x04dataJ\xfb\xff\xff\xfftt.",
            b"\x94\0\xc3\xa6storea\x94\xc4\x08\0\0\0\0\0\0\0\x01\xc0\xc4\x04data\xfb",
            oneway(Request::StoreA { oid: OID, serial: None, data: bytes(b"data"), id: (-5).into() }),
        ),
        (
            b"\x80\x03(K\0\x88X\x06\0\0\0storea(C\x08\0\0\0\0\0\0\0\x01X\x08\0\0\0\0\0\0\0\0\0\
          \0\0X\x04\0\0\0text\x8a\x09\x01\0\0\0\0\0\0\x80\0tt.",
            b"\x94\0\xc3\xa6storea\x94\xc4\x08\0\0\0\0\0\0\0\x01\xa8\0\0\0\0\0\0\0\0\xa4text\xcf\
          \x80\0\0\0\0\0\0\x01",
            oneway(Request::StoreA {
                oid: OID,
                serial: Some(Tid::ZERO),
                data: bytes(b"text"),
                id: Value::from((1u64 << 63) + 1).into(),
            }),
        ),
        (
            b"\x80\x03(K\0\x88X\x08\0\0\0restorea(C\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\0\0\x02\
          NN\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7ftt.",
            b"\x94\0\xc3\xa8restorea\x95\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02\xc0\
          \xc0\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            oneway(Request::RestoreA { oid: OID, serial: SERIAL, data: None, prev_txn: None, id: ID.into() }),
        ),
        (
            b"\x80\x03(K\0\x88X\x05\0\0\0undoaC\x0cA7JsGWLV0iI=\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7f\x86t.",
            b"\x94\0\xc3\xa5undoa\x92\xc4\x0cA7JsGWLV0iI=\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            oneway(Request::UndoA { transaction: bytes(b"A7JsGWLV0iI="), id: ID.into() }),
        ),
        (
            b"\x80\x03(K\x03\x89X\x04\0\0\0vote\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7f\x85t.",
            b"\x94\x03\xc2\xa4vote\x91\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            request(3, Request::Vote { id: ID.into() }),
        ),
        (
            b"\x80\x03(M,\x01\x89X\n\0\0\0tpc_finish\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7f\x85t.",
            b"\x94\xcd\x01,\xc2\xaatpc_finish\x91\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            request(300, Request::TpcFinish { id: ID.into() }),
        ),
        (
            b"\x80\x03(K\x04\x89X\x08\0\0\0new_oids)t.",
            b"\x94\x04\xc2\xa8new_oids\x90",
            request(4, Request::NewOids { n: 100 }),
        ),
        (
            b"\x80\x03(K\x04\x89X\x08\0\0\0new_oidsK\x03\x85t.",
            b"\x94\x04\xc2\xa8new_oids\x91\x03",
            request(4, Request::NewOids { n: 3 }),
        ),
        (
            b"\x80\x03(K\x04\x89X\x07\0\0\0new_oid)t.",
            b"\x94\x04\xc2\xa7new_oid\x90",
            request(4, Request::NewOid),
        ),
        (
            b"\x80\x03(K\x05\x89X\x07\0\0\0historyC\x08\0\0\0\0\0\0\0\x01\x85t.",
            b"\x94\x05\xc2\xa7history\x91\xc4\x08\0\0\0\0\0\0\0\x01",
            request(5, Request::History { oid: OID, size: 1 }),
        ),
        (
            b"\x80\x03(K\x05\x89X\x0f\0\0\0record_iternextN\x85t.",
            b"\x94\x05\xc2\xafrecord_iternext\x91\xc0",
            request(5, Request::RecordIternext { next: None }),
        ),
        (
            b"\x80\x03(K\x05\x89X\x0f\0\0\0record_iternext)t.",
            b"\x94\x05\xc2\xafrecord_iternext\x90",
            request(5, Request::RecordIternext { next: None }),
        ),
        (
            b"\x80\x03(K\x05\x89X\x0e\0\0\0iterator_startNC\x08\0\0\0\0\0\0\0\x02\x86t.",
            b"\x94\x05\xc2\xaeiterator_start\x92\xc0\xc4\x08\0\0\0\0\0\0\0\x02",
            request(5, Request::IteratorStart { start: None, stop: Some(SERIAL) }),
        ),
        (
            b"\x80\x03(K\0\x88X\x0b\0\0\0iterator_gc](K\0Kce\x85t.",
            b"\x94\0\xc3\xabiterator_gc\x91\x92\0c",
            oneway(Request::IteratorGc { iids: vec![0, 99] }),
        ),
        (
            b"\x80\x03(K\x05\x89X\x08\0\0\0undoInfoK\0J\xec\xff\xff\xff}X\x09\0\0\0user_nameC\x04\
          users\x87t.",
            b"\x94\x05\xc2\xa8undoInfo\x93\0\xec\x81\xa9user_name\xc4\x04user",
            request(
                5,
                Request::UndoInfo {
                    first: 0,
                    last: -20,
                    specification: Some(vec![("user_name".into(), Value::from(b"user"))]),
                },
            ),
        ),
        (
            b"\x80\x03(K\x05\x89X\x04\0\0\0packG?\xf8\0\0\0\0\0\0\x88\x86t.",
            b"\x94\x05\xc2\xa4pack\x92\xcb?\xf8\0\0\0\0\0\0\xc3",
            request(5, Request::Pack { time: 1.5, wait: true }),
        ),
        (
            b"\x80\x03(K\x05\x89X\x04\0\0\0packK\x02\x85t.",
            b"\x94\x05\xc2\xa4pack\x91\x02",
            request(5, Request::Pack { time: 2.0, wait: true }),
        ),
        (
            b"\x80\x03(K\0\x88X\x0f\0\0\0storeBlobShared(C\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\
          \0\0\x02C\x01dX\x05\0\0\0x.tmp\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7ftt.",
            b"\x94\0\xc3\xafstoreBlobShared\x95\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\
          \x02\xc4\x01d\xa5x.tmp\xcf\0\0\x7f\x8a\xe7\x9a\xb4\xcb",
            oneway(Request::StoreBlobShared {
                oid: OID,
                serial: Some(SERIAL),
                data: bytes(b"d"),
                filename: "x.tmp".into(),
                id: ID.into(),
            }),
        ),
        (
            b"\x80\x03(K\0\x88X\x10\0\0\0set_client_labelX\x05\0\0\0label\x85t.",
            b"\x94\0\xc3\xb0set_client_label\x91\xa5label",
            oneway(Request::SetClientLabel { label: "label".into() }),
        ),
        (
            b"\x80\x03(J\xff\xff\xff\xffK\0X\x06\0\0\0.replyNt.",
            b"\x94\xff\0\xa6.reply\xc0",
            Message { msgid: MsgId::Int(-1), oneway: false, body: Body::KeepAlive },
        ),
        (
            b"\x80\x03(K\x02\x89X\x06\0\0\0nosuchK\x01\x85t.",
            b"\x94\x02\xc2\xa6nosuch\x91\x01",
            Message { msgid: MsgId::Int(2), oneway: false, body: Body::UnknownMethod("nosuch".into()) },
        ),
        (
            b"\x80\x03(K\x02\x89X\n\0\0\0loadBeforeC\x08\0\0\0\0\0\0\0\x01\x85t.",
            b"\x94\x02\xc2\xaaloadBefore\x91\xc4\x08\0\0\0\0\0\0\0\x01",
            wrong(2, "loadBefore", "ZEOStorage.loadBefore() missing 1 required positional argument: 'tid'"),
        ),
        (
            b"\x80\x03(K\x02\x89X\n\0\0\0loadBeforeC\x08\0\0\0\0\0\0\0\x01N\x86t.",
            b"\x94\x02\xc2\xaaloadBefore\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc0",
            wrong(
                2,
                "loadBefore",
                "ZEOStorage.loadBefore() argument 'tid' must be a tid of 8 bytes, not NoneType",
            ),
        ),
        (
            b"\x80\x03(K\x02\x89X\n\0\0\0loadBeforeC\x071234567C\x08\0\0\0\0\0\0\0\x01\x86t.",
            b"\x94\x02\xc2\xaaloadBefore\x92\xc4\x071234567\xc4\x08\0\0\0\0\0\0\0\x01",
            wrong(
                2,
                "loadBefore",
                "ZEOStorage.loadBefore() argument 'oid' must be an oid of 8 bytes, not bytes of length 7",
            ),
        ),
        (
            b"\x80\x03(K\x02\x89X\x04\0\0\0pingK\x01\x85t.",
            b"\x94\x02\xc2\xa4ping\x91\x01",
            wrong(2, "ping", "ZEOStorage.ping() takes 1 positional argument but 2 were given"),
        ),
        (
            b"\x80\x03(K\x02\x89X\x04\0\0\0pingNt.",
            b"\x94\x02\xc2\xa4ping\xc0",
            wrong(2, "ping", "ZEOStorage.ping() argument after * must be an iterable, not NoneType"),
        ),
    ]
}

#[test]
fn requests_of_stock_clients_are_read_in_both_encodings() {
    for (pickle, msgpack, message) in messages() {
        assert_eq!(decode_request(Encoding::Pickle, pickle, &Limits::default()).as_ref(), Ok(&message));
        assert_eq!(decode_request(Encoding::Msgpack, msgpack, &Limits::default()), Ok(message));
    }
}

#[test]
fn a_message_cut_short_is_an_error_wherever_it_is_cut() {
    for (pickle, msgpack, _) in messages() {
        for (encoding, frame) in [(Encoding::Pickle, pickle), (Encoding::Msgpack, msgpack)] {
            for end in 0..frame.len() {
                assert!(
                    decode_request(encoding, &frame[..end], &Limits::default()).is_err(),
                    "{encoding:?} {end}"
                );
            }
            let longer = [frame, b"\0"].concat();
            assert!(decode_request(encoding, &longer, &Limits::default()).is_err());
        }
    }
}

/// The message with `{'user_name': ZopeUndo.Prefix.Prefix('/a/b')}`; msgpack has no form for it.
#[test]
fn a_prefix_in_the_specification_of_undo_info_is_read_as_data() {
    let frame = b"\x80\x03(K\x03\x89X\x08\0\0\0undoInfoK\0J\xec\xff\xff\xff}X\x09\0\0\0user_namecZ\
          opeUndo.Prefix\nPrefix\n)\x81}(X\x06\0\0\0lengthK\x03X\x04\0\0\0path](X\0\0\0\0X\
          \x01\0\0\0aX\x01\0\0\0beubs\x87t.";
    let message = decode_request(Encoding::Pickle, frame, &Limits::default()).expect("a message");
    let Body::Request(Request::UndoInfo { specification: Some(specification), .. }) = message.body else {
        panic!("not undoInfo");
    };
    let [(key, value)] = &specification[..] else { panic!("not one item") };
    assert_eq!(key, "user_name");
    assert_eq!(value.path_prefix(), Some(vec!["", "a", "b"]));
    assert!(value.matches(&Value::from(b"/a/b/c user")));
}

/// The extension of ZODB's `testTransactionExtensionFromIterator`: a class that reduces to
/// `(dict, (tuple(items),))`.
#[test]
fn an_extension_may_be_a_dictionary_by_call() {
    let frame = b"\x80\x03(K\0\x88X\t\0\0\0tpc_begin(K\x01C\0C\0cbuiltins\ndict\nX\x03\0\0\0fooK\x01\
          \x86\x85\x85RNX\x01\0\0\0 tt.";
    let message = decode_request(Encoding::Pickle, frame, &Limits::default()).expect("a message");
    let Body::Request(Request::TpcBegin { extension, .. }) = message.body else { panic!("not tpc_begin") };
    assert_eq!(extension, Value::Dict(vec![("foo".into(), Value::Int(1))]));
}

/// `(5, False, os.system, ())`, `(5, False, 'ping')`, `[]`, junk, nothing.
#[test]
fn what_is_no_message_is_an_error() {
    for frame in [
        &b"\x80\x03(K\x05\x89cos\nsystem\n)t."[..],
        b"\x80\x03K\x05\x89X\x04\0\0\0ping\x87.",
        b"].",
        b"junk",
        b"",
    ] {
        assert!(decode_request(Encoding::Pickle, frame, &Limits::default()).is_err());
    }
    for frame in
        [&b"\x94\x05\xc2\x05\x90"[..], b"\x93\x05\xc2\xa4ping", b"\x90", b"junk", b"", b"\xd6\xff\0\0\0\0"]
    {
        assert!(decode_request(Encoding::Msgpack, frame, &Limits::default()).is_err());
    }
}

#[test]
fn every_method_has_a_request_of_its_name() {
    for method in zeo_proto::METHODS {
        let eight = Value::from(b"\0\0\0\0\0\0\0\x01");
        let args: Vec<_> = method
            .parameters
            .iter()
            .map(|parameter| match parameter.name {
                "n" | "iid" | "txn_iid" | "first" | "last" | "time" | "size" | "id" | "wait"
                | "read_only" => Value::Int(1),
                "ext" | "spec" => Value::Dict(vec![]),
                "iids" => Value::Tuple(vec![]),
                "filename" | "status" | "label" => Value::from("p"),
                _ => eight.clone(),
            })
            .collect();
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let mut out = Vec::new();
            zeo_proto::client_side::encode_call(
                encoding,
                &mut out,
                &MsgId::Int(1),
                false,
                method.name,
                &args,
            );
            let message = decode_request(encoding, &out[4..], &Limits::default()).expect("a message");
            match message.body {
                Body::Request(request) => assert_eq!(request.method(), method.name),
                other => panic!("{}: {other:?}", method.name),
            }
        }
    }
}
