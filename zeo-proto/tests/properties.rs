//! Any value survives the way out and in again, and no bytes whatever harm a decoder.

use proptest::prelude::*;
use zeo_proto::client_side::{Incoming, decode_incoming, encode_call};
use zeo_proto::{Encoder, Encoding, Limits, METHODS, MsgId, Value, decode_request, pickle};

fn leaves() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        (any::<i64>(), 0..64u32).prop_map(|(number, shift)| Value::Int(number >> shift)),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::Float(f64::from(number) / 8.0)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::from),
        any::<[u8; 8]>().prop_map(|bytes| Value::from(bytes.to_vec())),
        any::<String>().prop_map(Value::from),
    ]
}

fn keys() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![any::<i64>().prop_map(Value::Int), any::<String>().prop_map(Value::from)]
}

/// What both encodings carry. Lists are among them only if asked for: msgpack gives tuples back.
fn values(with_lists: bool) -> impl Strategy<Value = Value<'static>> {
    leaves().prop_recursive(4, 64, 6, move |inner| {
        let many = prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            many.prop_map(move |values| if with_lists && values.len() % 2 == 1 {
                Value::List(values)
            } else {
                Value::Tuple(values)
            }),
            prop::collection::vec((keys(), inner), 0..6).prop_map(Value::Dict),
        ]
    })
}

fn sent(encoding: Encoding, value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(encoding).reply(&mut out, &MsgId::Int(1), value);
    out
}

fn received(encoding: Encoding, frame: &[u8]) -> Option<Value<'_>> {
    match decode_incoming(encoding, &frame[4..], &Limits::default()) {
        Ok(Incoming::Reply { msgid: MsgId::Int(1), result }) => Some(result),
        _ => None,
    }
}

/// How many values there are in one.
fn items(value: &Value<'_>) -> usize {
    1 + match value {
        Value::List(values) | Value::Tuple(values) => values.iter().map(items).sum(),
        Value::Dict(pairs) => pairs.iter().map(|(key, value)| items(key) + items(value)).sum(),
        Value::Object { callable, args, state, .. } => {
            items(callable) + args.iter().map(items).sum::<usize>() + state.as_deref().map_or(0, items)
        }
        _ => 0,
    }
}

fn decode_all_ways(bytes: &[u8]) {
    let limits = Limits::default();
    for encoding in [Encoding::Pickle, Encoding::Msgpack] {
        let _ = decode_request(encoding, bytes, &limits);
        let _ = decode_incoming(encoding, bytes, &limits);
    }
    if let Ok(value) = pickle::decode(bytes, &limits) {
        assert!(items(&value) <= limits.max_items);
        // Whatever was read can be written, and read again.
        let mut out = Vec::new();
        pickle::encode(&mut out, &value);
        let _ = value.to_string();
        assert!(pickle::decode(&out, &Limits { max_items: usize::MAX, max_depth: 100 }).is_ok());
    }
}

/// Bytes that look like pickles more often than chance has it.
fn opcodes() -> impl Strategy<Value = Vec<u8>> {
    const COMMON: &[u8] =
        b"(.012NRabcdeghjilpqrstoKMJCBUX)]}\x80\x81\x85\x86\x87\x88\x8c\x8f\x90\x91\x92\x93\x94\x95";
    let piece = prop_oneof![
        8 => prop::sample::select(COMMON).prop_map(|byte| vec![byte]),
        1 => Just(b"cbuiltins\ndict\n".to_vec()),
        1 => Just(b"X\x01\0\0\0a".to_vec()),
        1 => Just(b"h\0".to_vec()),
        1 => Just(b"q\0".to_vec()),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|mut pieces| {
        pieces.push(b".".to_vec());
        pieces.concat()
    })
}

proptest! {
    #[test]
    fn a_value_survives_pickling(value in values(true)) {
        let frame = sent(Encoding::Pickle, &value);
        prop_assert_eq!(received(Encoding::Pickle, &frame), Some(value));
    }

    #[test]
    fn a_value_survives_msgpack(value in values(false)) {
        let frame = sent(Encoding::Msgpack, &value);
        prop_assert_eq!(received(Encoding::Msgpack, &frame), Some(value));
    }

    #[test]
    fn a_value_cut_short_is_an_error(value in values(true), cut: prop::sample::Index) {
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let frame = sent(encoding, &value);
            let end = cut.index(frame.len() - 4);
            prop_assert!(decode_incoming(encoding, &frame[4..4 + end], &Limits::default()).is_err());
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all_ways(&bytes);
    }

    #[test]
    fn random_opcodes_do_no_harm(bytes in opcodes()) {
        decode_all_ways(&bytes);
    }

    #[test]
    fn changed_messages_do_no_harm(
        method in prop::sample::select(METHODS),
        args in prop::collection::vec(values(true), 0..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let mut frame = Vec::new();
            encode_call(encoding, &mut frame, &MsgId::Int(300), false, method.name, &args);
            let payload = &mut frame[4..];
            decode_all_ways(payload);
            for (at, byte) in &changes {
                *at.get_mut(payload) = *byte;
            }
            decode_all_ways(payload);
        }
    }
}
