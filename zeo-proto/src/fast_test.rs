//! The shortcuts against the decoders that they stand in for.

use proptest::prelude::*;

use crate::client_side::{encode_call, encode_load, encode_store};
use crate::message::decode_any_request;
use crate::{Encoding, Limits, Message, MsgId, Oid, Tid, Value, fast};

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Pickle), Just(Encoding::Msgpack)]
}

fn shortcut(encoding: Encoding, frame: &[u8]) -> Option<Message<'_>> {
    match encoding {
        Encoding::Pickle => fast::decode_pickle(frame),
        Encoding::Msgpack => fast::decode_msgpack(frame),
    }
}

/// Where the shortcut gives a message, the decoder has to give the same one.
fn same(encoding: Encoding, frame: &[u8]) -> bool {
    match shortcut(encoding, frame) {
        Some(message) => decode_any_request(encoding, frame, &Limits::default()) == Ok(message),
        None => true,
    }
}

fn numbers() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

proptest! {
    #[test]
    fn a_load_takes_the_shortcut_and_gives_what_the_decoder_gives(
        encoding in encodings(), oid: u64, tid: u64,
    ) {
        let mut out = Vec::new();
        encode_load(encoding, &mut out, Oid::new(oid), Tid::new(tid));
        prop_assert!(shortcut(encoding, &out[4..]).is_some());
        prop_assert!(same(encoding, &out[4..]));
    }

    #[test]
    fn a_store_takes_the_shortcut_and_gives_what_the_decoder_gives(
        encoding in encodings(),
        oid: u64,
        serial: u64,
        data in prop_oneof![prop::collection::vec(any::<u8>(), 0..600), Just(vec![b'x'; 70_000])],
        id in numbers(),
    ) {
        let mut out = Vec::new();
        encode_store(encoding, &mut out, Oid::new(oid), Some(Tid::new(serial)), &data, id);
        // In msgpack, negative ids are left to the decoder.
        prop_assert!(shortcut(encoding, &out[4..]).is_some() || id < 0);
        prop_assert!(same(encoding, &out[4..]));
    }

    #[test]
    fn a_changed_message_gives_what_the_decoder_gives(
        encoding in encodings(),
        store: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut out = Vec::new();
        match store {
            true => encode_store(encoding, &mut out, Oid::new(7), Some(Tid::ZERO), b"some data", 1 << 40),
            false => encode_load(encoding, &mut out, Oid::new(7), Tid::MAX),
        }
        let frame = &mut out[4..];
        for (at, byte) in &changes {
            *at.get_mut(frame) = *byte;
        }
        let end = cut.map_or(frame.len(), |cut| cut.index(frame.len()));
        prop_assert!(same(encoding, &frame[..end]));
    }
}

#[test]
fn what_is_not_exactly_the_stock_form_is_left_to_the_decoder() {
    for encoding in [Encoding::Pickle, Encoding::Msgpack] {
        let eight = Value::from(b"\0\0\0\0\0\0\0\x01");
        let load = [eight.clone(), eight.clone()];
        let store = [eight.clone(), Value::None, Value::from(b"data"), Value::Int(1)];
        let mut calls = vec![Vec::new(), Vec::new(), Vec::new()];
        encode_call(encoding, &mut calls[0], &MsgId::Int(7), false, "loadBefore", &load);
        encode_call(encoding, &mut calls[1], &MsgId::NONE, true, "storea", &store);
        encode_call(encoding, &mut calls[2], &MsgId::Int(7), false, "ping", &[]);
        for call in calls {
            assert_eq!(shortcut(encoding, &call[4..]), None);
            assert!(decode_any_request(encoding, &call[4..], &Limits::default()).is_ok());
        }
    }
}
