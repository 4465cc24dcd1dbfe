//! Replies and pushes as the stock server encodes them.
//!
//! ```text
//! python -c "from ZEO.asyncio.marshal import encoder; print(encoder(b'Z5', True)(MSGID, FLAG, METHOD, ARGS))"
//! ```
//! and with `b'M5'`; of exceptions, `ARGS` is `reduce_exception(EXCEPTION)` of the same module.

use zeo_proto::{Encoder, Encoding, ErrorReply, MsgId, Oid, Tid, Value};

const OID: Oid = Oid::new(1);
const TID: Tid = Tid::new(2);
const LOAD: MsgId = MsgId::Load(OID, Tid::MAX);
const FIVE: MsgId = MsgId::Int(5);

/// What the encoder writes in both encodings, without the length.
fn check(write: impl Fn(Encoder, &mut Vec<u8>), pickle: &[u8], msgpack: &[u8]) {
    for (encoding, golden) in [(Encoding::Pickle, pickle), (Encoding::Msgpack, msgpack)] {
        let mut out = b"before".to_vec();
        write(Encoder::new(encoding), &mut out);
        let frame = out.strip_prefix(b"before").expect("what was there stays");
        let (length, payload) = frame.split_first_chunk().expect("a length");
        assert_eq!(payload, golden, "{encoding:?}");
        assert_eq!(u32::from_be_bytes(*length) as usize, golden.len());
    }
}

#[test]
fn errors_are_written_as_the_stock_server_writes_them() {
    let errors: Vec<(ErrorReply, &[u8], &[u8])> = vec![
        (
            ErrorReply::PosKey(OID),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1d\0\0\0ZODB.POSException.POSKeyErrorC\x08\
          \0\0\0\0\0\0\0\x01\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbdZODB.POSException.POSKeyError\x91\xc4\x08\0\0\0\0\0\
          \0\0\x01",
        ),
        (
            ErrorReply::PosKeyBlob { message: "No blob file at x".into(), oid: OID, serial: TID },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1d\0\0\0ZODB.POSException.POSKeyErrorX\x11\
          \0\0\0No blob file at xC\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\0\0\x02\x87\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbdZODB.POSException.POSKeyError\x93\xb1No blob file \
          at x\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02",
        ),
        (
            ErrorReply::ReadOnly,
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1f\0\0\0ZODB.POSException.ReadOnlyError)\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbfZODB.POSException.ReadOnlyError\x90",
        ),
        (
            ErrorReply::StorageTransaction { current: None, given: 9.into() },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX)\0\0\0ZODB.POSException.StorageTransaction\
          ErrorNK\x09\x86\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xd9)ZODB.POSException.StorageTransactionError\x92\xc0\x09",
        ),
        (
            ErrorReply::StorageTransaction { current: Some(9.into()), given: 10.into() },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX)\0\0\0ZODB.POSException.StorageTransaction\
          ErrorK\x09K\n\x86\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xd9)ZODB.POSException.StorageTransactionError\x92\x09\n",
        ),
        (
            ErrorReply::StorageTransactionText("Already voting (locked)".into()),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX)\0\0\0ZODB.POSException.StorageTransaction\
          ErrorX\x17\0\0\0Already voting (locked)\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xd9)ZODB.POSException.StorageTransactionError\x91\xb7\
          Already voting (locked)",
        ),
        (
            ErrorReply::Conflict { oid: OID, committed: TID, given: Some(Tid::ZERO) },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1f\0\0\0ZODB.POSException.ConflictError}(\
          X\x07\0\0\0messageX\x17\0\0\0database conflict errorX\x03\0\0\0oidC\x08\0\0\0\0\0\
          \0\0\x01X\n\0\0\0class_nameNX\x07\0\0\0serialsC\x08\0\0\0\0\0\0\0\x02C\x08\0\0\0\
          \0\0\0\0\0\x86u\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbfZODB.POSException.ConflictError\x84\xa7message\xb7\
          database conflict error\xa3oid\xc4\x08\0\0\0\0\0\0\0\x01\xaaclass_name\xc0\xa7se\
          rials\x92\xc4\x08\0\0\0\0\0\0\0\x02\xc4\x08\0\0\0\0\0\0\0\0",
        ),
        (
            ErrorReply::Conflict { oid: OID, committed: TID, given: None },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1f\0\0\0ZODB.POSException.ConflictError}(\
          X\x07\0\0\0messageX\x17\0\0\0database conflict errorX\x03\0\0\0oidC\x08\0\0\0\0\0\
          \0\0\x01X\n\0\0\0class_nameNX\x07\0\0\0serialsC\x08\0\0\0\0\0\0\0\x02N\x86u\x86t\
          .",
            b"\x94\x05\x02\xa6.reply\x92\xbfZODB.POSException.ConflictError\x84\xa7message\xb7\
          database conflict error\xa3oid\xc4\x08\0\0\0\0\0\0\0\x01\xaaclass_name\xc0\xa7se\
          rials\x92\xc4\x08\0\0\0\0\0\0\0\x02\xc0",
        ),
        (
            ErrorReply::ReadConflict { oid: OID, committed: TID, given: Some(Tid::ZERO) },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX#\0\0\0ZODB.POSException.ReadConflictError}\
          (X\x07\0\0\0messageX\x1c\0\0\0database read conflict errorX\x03\0\0\0oidC\x08\0\0\
          \0\0\0\0\0\x01X\n\0\0\0class_nameNX\x07\0\0\0serialsC\x08\0\0\0\0\0\0\0\x02C\x08\
          \0\0\0\0\0\0\0\0\x86u\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xd9#ZODB.POSException.ReadConflictError\x84\xa7messag\
          e\xbcdatabase read conflict error\xa3oid\xc4\x08\0\0\0\0\0\0\0\x01\xaaclass_name\
          \xc0\xa7serials\x92\xc4\x08\0\0\0\0\0\0\0\x02\xc4\x08\0\0\0\0\0\0\0\0",
        ),
        (
            ErrorReply::Undo { reason: "Invalid transaction id".into(), oid: None },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1b\0\0\0ZODB.POSException.UndoError}(X\x07\
          \0\0\0_reasonX\x16\0\0\0Invalid transaction idX\x04\0\0\0_oidNu\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbbZODB.POSException.UndoError\x82\xa7_reason\xb6Inva\
          lid transaction id\xa4_oid\xc0",
        ),
        (
            ErrorReply::Undo { reason: "why".into(), oid: Some(OID) },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x1b\0\0\0ZODB.POSException.UndoError}(X\x07\
          \0\0\0_reasonX\x03\0\0\0whyX\x04\0\0\0_oidC\x08\0\0\0\0\0\0\0\x01u\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xbbZODB.POSException.UndoError\x82\xa7_reason\xa3why\xa4\
          _oid\xc4\x08\0\0\0\0\0\0\0\x01",
        ),
        (
            ErrorReply::MultipleUndo(vec![(OID, "why".into()), (Oid::new(2), "so".into())]),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX$\0\0\0ZODB.POSException.MultipleUndoErrors\
          }(X\x07\0\0\0_reasonC\x08\0\0\0\0\0\0\0\x01X\x04\0\0\0_oidcZODB.POSException\n_r\
          econ\ncZODB.POSException\nUndoError\n}(X\x07\0\0\0_reasonX\x03\0\0\0whyX\x04\0\0\
          \0_oidC\x08\0\0\0\0\0\0\0\x01X\x04\0\0\0argsX\x03\0\0\0whyC\x08\0\0\0\0\0\0\0\x01\
          \x86u\x86RX\x05\0\0\0_errs](C\x08\0\0\0\0\0\0\0\x01cZODB.POSException\n_recon\nc\
          ZODB.POSException\nUndoError\n}(X\x07\0\0\0_reasonX\x03\0\0\0whyX\x04\0\0\0_oidC\
          \x08\0\0\0\0\0\0\0\x01X\x04\0\0\0argsX\x03\0\0\0whyC\x08\0\0\0\0\0\0\0\x01\x86u\x86\
          R\x86C\x08\0\0\0\0\0\0\0\x02cZODB.POSException\n_recon\ncZODB.POSException\nUndo\
          Error\n}(X\x07\0\0\0_reasonX\x02\0\0\0soX\x04\0\0\0_oidC\x08\0\0\0\0\0\0\0\x02X\x04\
          \0\0\0argsX\x02\0\0\0soC\x08\0\0\0\0\0\0\0\x02\x86u\x86R\x86eu\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xd9$ZODB.POSException.MultipleUndoErrors\x83\xa7_reas\
          on\xc4\x08\0\0\0\0\0\0\0\x01\xa4_oid\x92\xbbZODB.POSException.UndoError\x82\xa7_\
          reason\xa3why\xa4_oid\xc4\x08\0\0\0\0\0\0\0\x01\xa5_errs\x92\x92\xc4\x08\0\0\0\0\
          \0\0\0\x01\x92\xbbZODB.POSException.UndoError\x82\xa7_reason\xa3why\xa4_oid\xc4\x08\
          \0\0\0\0\0\0\0\x01\x92\xc4\x08\0\0\0\0\0\0\0\x02\x92\xbbZODB.POSException.UndoEr\
          ror\x82\xa7_reason\xa2so\xa4_oid\xc4\x08\0\0\0\0\0\0\0\x02",
        ),
        (
            ErrorReply::Key(Value::Int(0)),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x11\0\0\0builtins.KeyErrorK\0\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb1builtins.KeyError\x91\0",
        ),
        (
            ErrorReply::Type("text".into()),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x12\0\0\0builtins.TypeErrorX\x04\0\0\0text\
          \x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb2builtins.TypeError\x91\xa4text",
        ),
        (
            ErrorReply::Value("unknown storage: 2".into()),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x13\0\0\0builtins.ValueErrorX\x12\0\0\0unk\
          nown storage: 2\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb3builtins.ValueError\x91\xb2unknown storage: 2",
        ),
        (
            ErrorReply::Assertion(None),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x17\0\0\0builtins.AssertionError)\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb7builtins.AssertionError\x90",
        ),
        (
            ErrorReply::Assertion(Some("finished called wo lock".into())),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x17\0\0\0builtins.AssertionErrorX\x17\0\0\0\
          finished called wo lock\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb7builtins.AssertionError\x91\xb7finished called wo lock",
        ),
        (
            ErrorReply::Attribute("'ZEOStorage' object has no attribute 'new_oid'".into()),
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x17\0\0\0builtins.AttributeErrorX.\0\0\0'Z\
          EOStorage' object has no attribute 'new_oid'\x85\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb7builtins.AttributeError\x91\xd9.'ZEOStorage' objec\
          t has no attribute 'new_oid'",
        ),
        (
            ErrorReply::Other { class: "builtins.Exception".into(), args: vec![Value::Int(1), "x".into()] },
            b"\x80\x03(K\x05K\x02X\x06\0\0\0.replyX\x12\0\0\0builtins.ExceptionK\x01X\x01\0\0\0\
          x\x86\x86t.",
            b"\x94\x05\x02\xa6.reply\x92\xb2builtins.Exception\x92\x01\xa1x",
        ),
    ];
    for (error, pickle, msgpack) in errors {
        check(|encoder, out| encoder.error(out, &FIVE, &error), pickle, msgpack);
    }
}

#[test]
fn loads_are_answered_with_a_triple() {
    check(
        |encoder, out| encoder.reply_load(out, &LOAD, b"data", TID, None),
        b"\x80\x03(C\x08\0\0\0\0\0\0\0\x01C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\x86K\0X\x06\
          \0\0\0.replyC\x04dataC\x08\0\0\0\0\0\0\0\x02N\x87t.",
        b"\x94\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\x7f\xff\xff\xff\xff\xff\xff\xff\0\xa6\
          .reply\x93\xc4\x04data\xc4\x08\0\0\0\0\0\0\0\x02\xc0",
    );
    check(
        |encoder, out| encoder.reply_load(out, &LOAD, b"data", TID, Some(Tid::MAX)),
        b"\x80\x03(C\x08\0\0\0\0\0\0\0\x01C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\x86K\0X\x06\
          \0\0\0.replyC\x04dataC\x08\0\0\0\0\0\0\0\x02C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\
          \x87t.",
        b"\x94\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\x7f\xff\xff\xff\xff\xff\xff\xff\0\xa6\
          .reply\x93\xc4\x04data\xc4\x08\0\0\0\0\0\0\0\x02\xc4\x08\x7f\xff\xff\xff\xff\xff\
          \xff\xff",
    );
    check(
        |encoder, out| encoder.reply_load(out, &FIVE, b"data", TID, Some(Tid::MAX)),
        b"\x80\x03(K\x05K\0X\x06\0\0\0.replyC\x04dataC\x08\0\0\0\0\0\0\0\x02C\x08\x7f\xff\xff\
          \xff\xff\xff\xff\xff\x87t.",
        b"\x94\x05\0\xa6.reply\x93\xc4\x04data\xc4\x08\0\0\0\0\0\0\0\x02\xc4\x08\x7f\xff\xff\
          \xff\xff\xff\xff\xff",
    );
    check(
        |encoder, out| encoder.reply(out, &LOAD, &Value::None),
        b"\x80\x03(C\x08\0\0\0\0\0\0\0\x01C\x08\x7f\xff\xff\xff\xff\xff\xff\xff\x86K\0X\x06\
          \0\0\0.replyNt.",
        b"\x94\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\x7f\xff\xff\xff\xff\xff\xff\xff\0\xa6\
          .reply\xc0",
    );
}

#[test]
fn results_are_written_under_the_message_id_they_answer() {
    check(
        |encoder, out| encoder.reply_tid(out, &FIVE, Tid::ZERO),
        b"\x80\x03(K\x05K\0X\x06\0\0\0.replyC\x08\0\0\0\0\0\0\0\0t.",
        b"\x94\x05\0\xa6.reply\xc4\x08\0\0\0\0\0\0\0\0",
    );
    check(
        |encoder, out| encoder.reply_data(out, &MsgId::Int(1000), b"data"),
        b"\x80\x03(M\xe8\x03K\0X\x06\0\0\0.replyC\x04datat.",
        b"\x94\xcd\x03\xe8\0\xa6.reply\xc4\x04data",
    );
    check(
        |encoder, out| encoder.reply(out, &MsgId::Other(Box::new("id".into())), &Value::Bool(true)),
        b"\x80\x03(X\x02\0\0\0idK\0X\x06\0\0\0.reply\x88t.",
        b"\x94\xa2id\0\xa6.reply\xc3",
    );
    check(
        |encoder, out| encoder.reply(out, &FIVE, &Value::List(vec![OID.into()])),
        b"\x80\x03(K\x05K\0X\x06\0\0\0.reply]C\x08\0\0\0\0\0\0\0\x01at.",
        b"\x94\x05\0\xa6.reply\x91\xc4\x08\0\0\0\0\0\0\0\x01",
    );
}

#[test]
fn pushes_are_calls_that_want_no_reply() {
    check(
        |encoder, out| encoder.invalidate_transaction(out, TID, &[OID, Oid::ROOT]),
        b"\x80\x03(K\0\x88X\x15\0\0\0invalidateTransactionC\x08\0\0\0\0\0\0\0\x02](C\x08\0\
          \0\0\0\0\0\0\x01C\x08\0\0\0\0\0\0\0\0e\x86t.",
        b"\x94\0\xc3\xb5invalidateTransaction\x92\xc4\x08\0\0\0\0\0\0\0\x02\x92\xc4\x08\0\0\
          \0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\0",
    );
    check(
        |encoder, out| encoder.invalidate_transaction(out, TID, &[OID]),
        b"\x80\x03(K\0\x88X\x15\0\0\0invalidateTransactionC\x08\0\0\0\0\0\0\0\x02]C\x08\0\0\
          \0\0\0\0\0\x01a\x86t.",
        b"\x94\0\xc3\xb5invalidateTransaction\x92\xc4\x08\0\0\0\0\0\0\0\x02\x91\xc4\x08\0\0\
          \0\0\0\0\0\x01",
    );
    check(
        |encoder, out| encoder.invalidate_transaction(out, TID, &[]),
        b"\x80\x03(K\0\x88X\x15\0\0\0invalidateTransactionC\x08\0\0\0\0\0\0\0\x02]\x86t.",
        b"\x94\0\xc3\xb5invalidateTransaction\x92\xc4\x08\0\0\0\0\0\0\0\x02\x90",
    );
    check(
        |encoder, out| encoder.info(out, &[("length", Value::Int(2)), ("size", Value::Int(1000))]),
        b"\x80\x03(K\0\x88X\x04\0\0\0info}(X\x06\0\0\0lengthK\x02X\x04\0\0\0sizeM\xe8\x03u\x85t.",
        b"\x94\0\xc3\xa4info\x91\x82\xa6length\x02\xa4size\xcd\x03\xe8",
    );
    check(
        |encoder, out| encoder.receive_blob_start(out, OID, TID),
        b"\x80\x03(K\0\x88X\x10\0\0\0receiveBlobStartC\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\
          \0\0\x02\x86t.",
        b"\x94\0\xc3\xb0receiveBlobStart\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02",
    );
    check(
        |encoder, out| encoder.receive_blob_chunk(out, OID, TID, b"chunk"),
        b"\x80\x03(K\0\x88X\x10\0\0\0receiveBlobChunkC\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\
          \0\0\x02C\x05chunk\x87t.",
        b"\x94\0\xc3\xb0receiveBlobChunk\x93\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\
          \0\x02\xc4\x05chunk",
    );
    check(
        |encoder, out| encoder.receive_blob_stop(out, OID, TID),
        b"\x80\x03(K\0\x88X\x0f\0\0\0receiveBlobStopC\x08\0\0\0\0\0\0\0\x01C\x08\0\0\0\0\0\
          \0\0\x02\x86t.",
        b"\x94\0\xc3\xafreceiveBlobStop\x92\xc4\x08\0\0\0\0\0\0\0\x01\xc4\x08\0\0\0\0\0\0\0\x02",
    );
}

#[test]
fn the_reply_to_a_load_is_the_same_with_and_without_the_template() {
    for length in [0, 1, 255, 256, 65_535, 65_536, 100_000] {
        for end in [None, Some(Tid::MAX)] {
            let data = vec![b'x'; length];
            for encoding in [Encoding::Pickle, Encoding::Msgpack] {
                let encoder = Encoder::new(encoding);
                let (mut from_template, mut from_values) = (Vec::new(), Vec::new());
                encoder.reply_load(&mut from_template, &LOAD, &data, TID, end);
                let result = Value::Tuple(vec![Value::from(&data[..]), TID.into(), end.into()]);
                encoder.reply(&mut from_values, &LOAD, &result);
                assert_eq!(from_template, from_values, "{encoding:?} {length} {end:?}");
            }
        }
    }
}

#[test]
fn what_the_encoding_cannot_carry_becomes_an_error() {
    let encoder = Encoder::new(Encoding::Msgpack);
    let (mut out, mut error) = (Vec::new(), Vec::new());
    encoder.reply(&mut out, &FIVE, &Value::Tuple(vec![Value::None, Value::BigInt(vec![0; 20])]));
    encoder.error(&mut error, &FIVE, &ErrorReply::Value("Couldn't pickle response".into()));
    assert_eq!(out, error);
}
