//! The writer against bytes that Python made.
//!
//! ```text
//! python -c "import io; from zodbpickle.pickle import Pickler; f = io.BytesIO(); p = Pickler(f, 3); p.fast = 1
//! p.dump(VALUE); print(f.getvalue())"
//! ```

use zeo_proto::{Limits, Value, pickle};

fn encoded(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    pickle::encode(&mut out, value);
    out
}

fn goldens() -> Vec<(Value<'static>, &'static [u8])> {
    vec![
        (Value::None, b"\x80\x03N."),
        (Value::Bool(true), b"\x80\x03\x88."),
        (Value::Bool(false), b"\x80\x03\x89."),
        (Value::Int(0), b"\x80\x03K\0."),
        (Value::Int(255), b"\x80\x03K\xff."),
        (Value::Int(256), b"\x80\x03M\0\x01."),
        (Value::Int(65535), b"\x80\x03M\xff\xff."),
        (Value::Int(65536), b"\x80\x03J\0\0\x01\0."),
        (Value::Int(2147483647), b"\x80\x03J\xff\xff\xff\x7f."),
        (Value::Int(2147483648), b"\x80\x03\x8a\x05\0\0\0\x80\0."),
        (Value::Int(-1), b"\x80\x03J\xff\xff\xff\xff."),
        (Value::Int(-129), b"\x80\x03J\x7f\xff\xff\xff."),
        (Value::Int(-2147483648), b"\x80\x03J\0\0\0\x80."),
        (Value::Int(-2147483649), b"\x80\x03\x8a\x05\xff\xff\xff\x7f\xff."),
        (Value::Int(1099511627776), b"\x80\x03\x8a\x06\0\0\0\0\0\x01."),
        (Value::Int(140234567890123), b"\x80\x03\x8a\x06\xcb\xb4\x9a\xe7\x8a\x7f."),
        (Value::Int(9223372036854775807), b"\x80\x03\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."),
        (Value::Int(i64::MIN), b"\x80\x03\x8a\x08\0\0\0\0\0\0\0\x80."),
        (Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 128, 0]), b"\x80\x03\x8a\x09\0\0\0\0\0\0\0\x80\0."),
        (
            Value::BigInt(vec![255, 255, 255, 255, 255, 255, 255, 127, 255]),
            b"\x80\x03\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff.",
        ),
        (Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 1]), b"\x80\x03\x8a\x09\0\0\0\0\0\0\0\0\x01."),
        (Value::Float(1.5), b"\x80\x03G?\xf8\0\0\0\0\0\0."),
        (Value::Float(-0.0), b"\x80\x03G\x80\0\0\0\0\0\0\0."),
        (Value::from(b""), b"\x80\x03C\0."),
        (Value::from(b"abc\0\xff"), b"\x80\x03C\x05abc\0\xff."),
        (Value::from(""), b"\x80\x03X\0\0\0\0."),
        (Value::from("café \"\\"), b"\x80\x03X\x08\0\0\0caf\xc3\xa9 \"\\."),
        (Value::List(vec![]), b"\x80\x03]."),
        (Value::List(vec![Value::Int(1)]), b"\x80\x03]K\x01a."),
        (Value::List(vec![Value::Int(1), Value::Int(2)]), b"\x80\x03](K\x01K\x02e."),
        (
            Value::List(vec![Value::List(vec![Value::List(vec![])]), Value::Tuple(vec![])]),
            b"\x80\x03](]]a)e.",
        ),
        (Value::Tuple(vec![]), b"\x80\x03)."),
        (Value::Tuple(vec![Value::Int(1)]), b"\x80\x03K\x01\x85."),
        (Value::Tuple(vec![Value::Int(1), Value::Int(2)]), b"\x80\x03K\x01K\x02\x86."),
        (Value::Tuple(vec![Value::Int(1), Value::Int(2), Value::Int(3)]), b"\x80\x03K\x01K\x02K\x03\x87."),
        (
            Value::Tuple(vec![Value::Int(1), Value::Int(2), Value::Int(3), Value::Int(4)]),
            b"\x80\x03(K\x01K\x02K\x03K\x04t.",
        ),
        (Value::Dict(vec![]), b"\x80\x03}."),
        (Value::Dict(vec![(Value::from("a"), Value::Int(1))]), b"\x80\x03}X\x01\0\0\0aK\x01s."),
        (
            Value::Dict(vec![
                (Value::from("a"), Value::from(b"x")),
                (Value::from("b"), Value::List(vec![Value::None, Value::Dict(vec![])])),
            ]),
            b"\x80\x03}(X\x01\0\0\0aC\x01xX\x01\0\0\0b](N}eu.",
        ),
        (
            Value::Tuple(vec![
                Value::Dict(vec![]),
                Value::List(vec![Value::Tuple(vec![Value::Int(1)]), Value::Tuple(vec![])]),
            ]),
            b"\x80\x03}](K\x01\x85)e\x86.",
        ),
    ]
}

#[test]
fn values_are_written_as_python_writes_them() {
    for (value, golden) in goldens() {
        assert_eq!(encoded(&value), golden, "{value}");
    }
}

#[test]
fn what_python_wrote_is_read() {
    for (value, golden) in goldens() {
        assert_eq!(pickle::decode(golden, &Limits::default()), Ok(value));
    }
}

/// `LONG4` of a number of 2101 bits: `1 << 2100`.
#[test]
fn very_long_numbers_have_a_longer_length() {
    let mut number = vec![0; 262];
    number.push(0x10);
    let bytes = encoded(&Value::BigInt(number.clone()));
    assert_eq!(bytes[..7], *b"\x80\x03\x8b\x07\x01\0\0");
    assert_eq!(pickle::decode(&bytes, &Limits::default()), Ok(Value::BigInt(number)));
}

/// Bytes of 256 and more have a length of four bytes.
#[test]
fn long_bytes_have_a_longer_length() {
    let bytes = vec![b'x'; 256];
    let golden = [&b"\x80\x03B\0\x01\0\0"[..], &bytes, b"."].concat();
    assert_eq!(encoded(&Value::from(&bytes[..])), golden);
    assert_eq!(encoded(&Value::from(&bytes[..255]))[..4], *b"\x80\x03C\xff");
}

/// What `pickletools.dis` shows of `[None] * n`.
#[test]
fn lists_are_written_in_batches_of_a_thousand() {
    let batch = |n| [&b"("[..], &b"N".repeat(n), b"e"].concat();
    for (n, batches) in [
        (999, vec![batch(999)]),
        (1000, vec![batch(1000)]),
        (1001, vec![batch(1000), batch(1)]),
        (2000, vec![batch(1000), batch(1000)]),
        (2001, vec![batch(1000), batch(1000), batch(1)]),
    ] {
        let golden = [&b"\x80\x03]"[..], &batches.concat(), b"."].concat();
        assert_eq!(encoded(&Value::List(vec![Value::None; n])), golden, "{n}");
    }
}

/// What `pickletools.dis` shows of a dictionary of `n` items; a full last batch is followed by an empty one.
#[test]
fn dictionaries_are_written_in_batches_of_a_thousand() {
    let batch = |from: u16, to: u16| {
        let items: Vec<u8> =
            (from..to).flat_map(|n| [b'M', n.to_le_bytes()[0], n.to_le_bytes()[1], b'N']).collect();
        [&b"("[..], &items, b"u"].concat()
    };
    for (n, batches) in [
        (999, vec![batch(1000, 1999)]),
        (1000, vec![batch(1000, 2000), batch(0, 0)]),
        (1001, vec![batch(1000, 2000), batch(2000, 2001)]),
        (2000, vec![batch(1000, 2000), batch(2000, 3000), batch(0, 0)]),
    ] {
        let golden = [&b"\x80\x03}"[..], &batches.concat(), b"."].concat();
        let items = (1000..1000 + n).map(|key| (Value::Int(key), Value::None)).collect();
        assert_eq!(encoded(&Value::Dict(items)), golden, "{n}");
    }
}
