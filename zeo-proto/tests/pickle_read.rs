//! The reader against what Python wrote at every protocol, memo and all.

use zeo_proto::{DecodeError, Limits, Value, pickle};

fn decode(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
    pickle::decode(bytes, &Limits::default())
}

/// `x = ['x', b'y\xff']; {'key': 'café €', 'again': 'key', 'b': b'\x00\xffb', 'empty': b'', 'n': [1, -5, 70000, 1099511627776, -1180591620717411303424], 't': (None, True, False, ()), 'f': 2.5, 'one': (1,), 'l': x, 'l2': x, 'd': {'key': {}}, 'lines': 'a\nb\\'}`
fn value() -> Value<'static> {
    Value::Dict(vec![
        (Value::from("key"), Value::from("café €")),
        (Value::from("again"), Value::from("key")),
        (Value::from("b"), Value::from(b"\0\xffb")),
        (Value::from("empty"), Value::from(b"")),
        (
            Value::from("n"),
            Value::List(vec![
                Value::Int(1),
                Value::Int(-5),
                Value::Int(70000),
                Value::Int(1099511627776),
                Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 192]),
            ]),
        ),
        (
            Value::from("t"),
            Value::Tuple(vec![Value::None, Value::Bool(true), Value::Bool(false), Value::Tuple(vec![])]),
        ),
        (Value::from("f"), Value::Float(2.5)),
        (Value::from("one"), Value::Tuple(vec![Value::Int(1)])),
        (Value::from("l"), Value::List(vec![Value::from("x"), Value::from(b"y\xff")])),
        (Value::from("l2"), Value::List(vec![Value::from("x"), Value::from(b"y\xff")])),
        (Value::from("d"), Value::Dict(vec![(Value::from("key"), Value::Dict(vec![]))])),
        (Value::from("lines"), Value::from("a\nb\\")),
    ])
}

/// `[pickle.dumps(value, protocol) for protocol in range(6)]`, Python 3.11.
const PROTOCOLS: [&[u8]; 6] = [
    b"(dp0\nVkey\np1\nVcaf\xe9 \\u20ac\np2\nsVagain\np3\ng1\nsVb\np4\nc_codecs\nencode\
          \np5\n(V\\u0000\xffb\np6\nVlatin1\np7\ntp8\nRp9\nsVempty\np10\nc__builtin__\nbyt\
          es\np11\n(tRp12\nsVn\np13\n(lp14\nI1\naI-5\naI70000\naL1099511627776L\naL-118059\
          1620717411303424L\nasVt\np15\n(NI01\nI00\n(ttp16\nsVf\np17\nF2.5\nsVone\np18\n(I\
          1\ntp19\nsVl\np20\n(lp21\nVx\np22\nag5\n(Vy\xff\np23\ng7\ntp24\nRp25\nasVl2\np26\
          \ng21\nsVd\np27\n(dp28\ng1\n(dp29\nssVlines\np30\nVa\\u000ab\\u005c\np31\ns.",
    b"}q\0(X\x03\0\0\0keyq\x01X\x09\0\0\0caf\xc3\xa9 \xe2\x82\xacq\x02X\x05\0\0\0again\
          q\x03h\x01X\x01\0\0\0bq\x04c_codecs\nencode\nq\x05(X\x04\0\0\0\0\xc3\xbfbq\x06X\x06\
          \0\0\0latin1q\x07tq\x08Rq\x09X\x05\0\0\0emptyq\nc__builtin__\nbytes\nq\x0b)Rq\x0c\
          X\x01\0\0\0nq\x0d]q\x0e(K\x01J\xfb\xff\xff\xffJp\x11\x01\0L1099511627776L\nL-118\
          0591620717411303424L\neX\x01\0\0\0tq\x0f(NI01\nI00\n)tq\x10X\x01\0\0\0fq\x11G@\x04\
          \0\0\0\0\0\0X\x03\0\0\0oneq\x12(K\x01tq\x13X\x01\0\0\0lq\x14]q\x15(X\x01\0\0\0xq\
          \x16h\x05(X\x03\0\0\0y\xc3\xbfq\x17h\x07tq\x18Rq\x19eX\x02\0\0\0l2q\x1ah\x15X\x01\
          \0\0\0dq\x1b}q\x1ch\x01}q\x1dsX\x05\0\0\0linesq\x1eX\x04\0\0\0a\nb\\q\x1fu.",
    b"\x80\x02}q\0(X\x03\0\0\0keyq\x01X\x09\0\0\0caf\xc3\xa9 \xe2\x82\xacq\x02X\x05\0\0\
          \0againq\x03h\x01X\x01\0\0\0bq\x04c_codecs\nencode\nq\x05X\x04\0\0\0\0\xc3\xbfbq\
          \x06X\x06\0\0\0latin1q\x07\x86q\x08Rq\x09X\x05\0\0\0emptyq\nc__builtin__\nbytes\n\
          q\x0b)Rq\x0cX\x01\0\0\0nq\x0d]q\x0e(K\x01J\xfb\xff\xff\xffJp\x11\x01\0\x8a\x06\0\
          \0\0\0\0\x01\x8a\x09\0\0\0\0\0\0\0\0\xc0eX\x01\0\0\0tq\x0f(N\x88\x89)tq\x10X\x01\
          \0\0\0fq\x11G@\x04\0\0\0\0\0\0X\x03\0\0\0oneq\x12K\x01\x85q\x13X\x01\0\0\0lq\x14\
          ]q\x15(X\x01\0\0\0xq\x16h\x05X\x03\0\0\0y\xc3\xbfq\x17h\x07\x86q\x18Rq\x19eX\x02\
          \0\0\0l2q\x1ah\x15X\x01\0\0\0dq\x1b}q\x1ch\x01}q\x1dsX\x05\0\0\0linesq\x1eX\x04\0\
          \0\0a\nb\\q\x1fu.",
    b"\x80\x03}q\0(X\x03\0\0\0keyq\x01X\x09\0\0\0caf\xc3\xa9 \xe2\x82\xacq\x02X\x05\0\0\
          \0againq\x03h\x01X\x01\0\0\0bq\x04C\x03\0\xffbq\x05X\x05\0\0\0emptyq\x06C\0q\x07\
          X\x01\0\0\0nq\x08]q\x09(K\x01J\xfb\xff\xff\xffJp\x11\x01\0\x8a\x06\0\0\0\0\0\x01\
          \x8a\x09\0\0\0\0\0\0\0\0\xc0eX\x01\0\0\0tq\n(N\x88\x89)tq\x0bX\x01\0\0\0fq\x0cG@\
          \x04\0\0\0\0\0\0X\x03\0\0\0oneq\x0dK\x01\x85q\x0eX\x01\0\0\0lq\x0f]q\x10(X\x01\0\
          \0\0xq\x11C\x02y\xffq\x12eX\x02\0\0\0l2q\x13h\x10X\x01\0\0\0dq\x14}q\x15h\x01}q\x16\
          sX\x05\0\0\0linesq\x17X\x04\0\0\0a\nb\\q\x18u.",
    b"\x80\x04\x95\xb1\0\0\0\0\0\0\0}\x94(\x8c\x03key\x94\x8c\x09caf\xc3\xa9 \xe2\x82\xac\
          \x94\x8c\x05again\x94h\x01\x8c\x01b\x94C\x03\0\xffb\x94\x8c\x05empty\x94C\0\x94\x8c\
          \x01n\x94]\x94(K\x01J\xfb\xff\xff\xffJp\x11\x01\0\x8a\x06\0\0\0\0\0\x01\x8a\x09\0\
          \0\0\0\0\0\0\0\xc0e\x8c\x01t\x94(N\x88\x89)t\x94\x8c\x01f\x94G@\x04\0\0\0\0\0\0\x8c\
          \x03one\x94K\x01\x85\x94\x8c\x01l\x94]\x94(\x8c\x01x\x94C\x02y\xff\x94e\x8c\x02l\
          2\x94h\x10\x8c\x01d\x94}\x94h\x01}\x94s\x8c\x05lines\x94\x8c\x04a\nb\\\x94u.",
    b"\x80\x05\x95\xb1\0\0\0\0\0\0\0}\x94(\x8c\x03key\x94\x8c\x09caf\xc3\xa9 \xe2\x82\xac\
          \x94\x8c\x05again\x94h\x01\x8c\x01b\x94C\x03\0\xffb\x94\x8c\x05empty\x94C\0\x94\x8c\
          \x01n\x94]\x94(K\x01J\xfb\xff\xff\xffJp\x11\x01\0\x8a\x06\0\0\0\0\0\x01\x8a\x09\0\
          \0\0\0\0\0\0\0\xc0e\x8c\x01t\x94(N\x88\x89)t\x94\x8c\x01f\x94G@\x04\0\0\0\0\0\0\x8c\
          \x03one\x94K\x01\x85\x94\x8c\x01l\x94]\x94(\x8c\x01x\x94C\x02y\xff\x94e\x8c\x02l\
          2\x94h\x10\x8c\x01d\x94}\x94h\x01}\x94s\x8c\x05lines\x94\x8c\x04a\nb\\\x94u.",
];

#[test]
fn every_protocol_of_python_3_gives_the_same_value() {
    for (protocol, bytes) in PROTOCOLS.iter().enumerate() {
        assert_eq!(decode(bytes), Ok(value()), "protocol {protocol}");
    }
}

/// `{'a': u'\xe9\u20ac', 'b': 5L, 'c': '\xff', 'd': True, 'e': [0.5, 'a']}` in the forms of Python 2's protocols. How
/// ZODB reads them: `zodbpickle.loads(bytes, encoding='ASCII', errors='bytes')`.
#[test]
fn strings_of_python_2_are_text_where_they_are_ascii() {
    let value = Value::Dict(vec![
        ("a".into(), "é€".into()),
        ("b".into(), Value::Int(5)),
        ("c".into(), Value::from(b"\xff")),
        ("d".into(), Value::Bool(true)),
        ("e".into(), Value::List(vec![Value::Float(0.5), "a".into()])),
    ]);
    let protocols: [&[u8]; 3] = [
        b"(dp1\nS'a'\np2\nV\xe9\\u20ac\np3\nsS'b'\np4\nL5L\nsS'c'\np5\nS'\\xff'\np6\nsS'd'\np7\nI01\nsS'e'\n\
          p8\n(lp9\nF0.5\nag2\nas.",
        b"}q\x01(U\x01aq\x02X\x05\0\0\0\xc3\xa9\xe2\x82\xacq\x03U\x01bq\x04L5L\nU\x01cq\x05U\x01\xffq\x06U\x01d\
          q\x07I01\nU\x01eq\x08]q\x09(G?\xe0\0\0\0\0\0\0h\x02eu.",
        b"\x80\x02}q\x01(U\x01aq\x02X\x05\0\0\0\xc3\xa9\xe2\x82\xacq\x03U\x01bq\x04\x8a\x01\x05U\x01cq\x05U\x01\
          \xffq\x06U\x01dq\x07\x88U\x01eq\x08]q\x09(G?\xe0\0\0\0\0\0\0h\x02eu.",
    ];
    for (protocol, bytes) in protocols.iter().enumerate() {
        assert_eq!(decode(bytes), Ok(value.clone()), "protocol {protocol}");
    }
}

fn global(module: &'static str, name: &'static str) -> Value<'static> {
    Value::Global { module: module.into(), name: name.into() }
}

fn object(
    callable: Value<'static>,
    args: Vec<Value<'static>>,
    state: Option<Value<'static>>,
    new: bool,
) -> Value<'static> {
    Value::Object { callable: Box::new(callable), args, state: state.map(Box::new), new }
}

/// `pickle.dumps({1, 2}, 4)`, `pickle.dumps(frozenset([1]), 4)`, `pickle.dumps({1, 2}, 2)`.
#[test]
fn sets_are_read_as_calls_of_their_class() {
    let list = |values: Vec<i64>| vec![Value::List(values.into_iter().map(Value::Int).collect())];
    let set = object(global("builtins", "set"), list(vec![1, 2]), None, false);
    assert_eq!(decode(b"\x80\x04\x95\x09\0\0\0\0\0\0\0\x8f\x94(K\x01K\x02\x90."), Ok(set));
    let frozenset = object(global("builtins", "frozenset"), list(vec![1]), None, false);
    assert_eq!(decode(b"\x80\x04\x95\x06\0\0\0\0\0\0\0(K\x01\x91\x94."), Ok(frozenset));
    let set = object(global("__builtin__", "set"), list(vec![1, 2]), None, false);
    assert_eq!(decode(b"\x80\x02c__builtin__\nset\nq\0]q\x01(K\x01K\x02e\x85q\x02Rq\x03."), Ok(set));
}

/// The forms that the protocols have for an instance.
#[test]
fn objects_are_recipes() {
    let call = |args, new| object(global("builtins", "object"), args, None, new);
    for (bytes, value) in [
        (&b"cbuiltins\nobject\n)R."[..], call(vec![], false)),
        (b"cbuiltins\nobject\n(K\x01tR.", call(vec![Value::Int(1)], false)),
        (b"\x80\x02cbuiltins\nobject\n)\x81.", call(vec![], true)),
        (b"(K\x01ibuiltins\nobject\n.", call(vec![Value::Int(1)], false)),
        (b"(cbuiltins\nobject\nK\x01o.", call(vec![Value::Int(1)], false)),
        (b"\x80\x04\x8c\x08builtins\x8c\x06object\x93)\x81.", call(vec![], true)),
        (b"\x80\x04\x8c\x08builtins\x8c\x06object\x93)}\x92.", call(vec![], true)),
    ] {
        assert_eq!(decode(bytes), Ok(value));
    }
    let state = Value::Dict(vec![("a".into(), Value::Int(1))]);
    let with_state = object(global("builtins", "object"), vec![], Some(state), true);
    assert_eq!(decode(b"\x80\x02cbuiltins\nobject\n)\x81}U\x01aK\x01sb."), Ok(with_state));
}

/// ZODB's `testTransactionExtensionFromIterator` has an extension whose class reduces to
/// `(dict, (tuple(items),))`.
#[test]
fn a_dictionary_may_be_a_call() {
    let value = Value::Dict(vec![("a".into(), Value::Int(1))]);
    for bytes in [
        &b"\x80\x03cbuiltins\ndict\n)RX\x01\0\0\0aK\x01s."[..],
        b"c__builtin__\ndict\n(tR(U\x01aK\x01u.",
        b"\x80\x03cbuiltins\ndict\nX\x01\0\0\0aK\x01\x86\x85\x85R.",
        b"cbuiltins\ndict\n(((U\x01aK\x01tltR.",
        b"(}U\x01aK\x01sibuiltins\ndict\n.",
    ] {
        assert_eq!(decode(bytes), Ok(value.clone()));
    }
    assert!(decode(b"cbuiltins\ndict\n(K\x01tR.").is_err());
}

#[test]
fn a_container_may_change_after_it_was_referred_to() {
    let list = Value::List(vec![Value::Int(1)]);
    assert_eq!(decode(b"(]q\x01h\x01K\x01at."), Ok(Value::Tuple(vec![list.clone(), list])));
}

#[test]
fn other_globals_and_what_is_no_data_are_refused() {
    for bytes in
        [&b"cos\nsystem\n(U\x02lstR."[..], b"cos\nsystem\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]
    {
        let error = DecodeError::Global { module: "os".into(), name: "system".into() };
        assert_eq!(decode(bytes), Err(error));
    }
    for (bytes, opcode) in [
        (&b"P1\n."[..], b'P'),
        (b"NQ.", b'Q'),
        (b"\x82\x01.", 0x82),
        (b"\x83\x01\0.", 0x83),
        (b"\x84\x01\0\0\0.", 0x84),
        (b"\x97.", 0x97),
        (b"N\x98.", 0x98),
        (b"\x80\x06N.", 6),
        (b"\xff.", 0xff),
    ] {
        assert_eq!(decode(bytes), Err(DecodeError::Unsupported(opcode)));
    }
}
