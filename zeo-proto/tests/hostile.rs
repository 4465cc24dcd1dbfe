//! Messages made to hurt: deep, self-containing, multiplying, and lying about their lengths.

use zeo_proto::{DecodeError, Encoding, Limits, Value, decode_request, pickle};

fn decode(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
    pickle::decode(bytes, &Limits::default())
}

/// A pickle that doubles a tuple again and again by reference: 2^n copies of the innermost.
fn doubling(times: u8) -> Vec<u8> {
    let mut bytes = b"Nq\0".to_vec();
    for n in 0..times {
        bytes.extend_from_slice(&[b'h', n, 0x86, b'q', n + 1]);
    }
    bytes.push(b'.');
    bytes
}

#[test]
fn nesting_is_bounded() {
    for n in [65, 1_000, 1_000_000] {
        let lists = [&b"]".repeat(n)[..], &b"a".repeat(n - 1), b"."].concat();
        let tuples = [&b"N"[..], &b"\x85".repeat(n), b"."].concat();
        let expected = if n < 60_000 { DecodeError::TooDeep } else { DecodeError::TooManyItems };
        assert_eq!(decode(&lists), Err(expected.clone()));
        assert_eq!(decode(&tuples), Err(expected));
        let arrays = [&b"\x91".repeat(n)[..], b"\xc0"].concat();
        let error = decode_request(Encoding::Msgpack, &arrays, &Limits::default());
        assert_eq!(error, Err(DecodeError::TooDeep));
    }
    let allowed = [&b"N"[..], &b"\x85".repeat(63), b"."].concat();
    assert!(decode(&allowed).is_ok());
}

#[test]
fn a_value_that_contains_itself_is_refused() {
    assert_eq!(decode(b"]q\0h\0a."), Err(DecodeError::TooDeep));
    assert_eq!(decode(b"}q\0Nh\0s."), Err(DecodeError::TooDeep));
    assert_eq!(decode(b"cbuiltins\nobject\n)Rq\0h\0b."), Err(DecodeError::TooDeep));
}

#[test]
fn references_that_multiply_are_refused() {
    assert_eq!(decode(&doubling(60)), Err(DecodeError::TooManyItems));
    assert!(decode(&doubling(10)).is_ok());
}

#[test]
fn long_text_that_is_referred_to_often_is_refused() {
    // UNICODE with an escape, so that the text cannot be borrowed.
    let mut bytes = [&b"(V\\u20ac"[..], &b"x".repeat(100_000), b"\nq\0"].concat();
    bytes.extend_from_slice(&b"h\0".repeat(1_000));
    bytes.extend_from_slice(b"t.");
    assert_eq!(decode(&bytes), Err(DecodeError::TooManyItems));
}

#[test]
fn lengths_that_cannot_be_true_are_refused() {
    for bytes in [
        &b"B\xff\xff\xff\xffx."[..],
        b"X\xff\xff\xff\x7fx.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x8b\xff\xff\xff\x7fx.",
        b"\x8b\xff\xff\xff\xffx.",
    ] {
        assert_eq!(decode(bytes), Err(DecodeError::Truncated));
    }
    for bytes in [
        &b"\xdd\xff\xff\xff\xff\xc0"[..],
        b"\xdf\xff\xff\xff\xff\xc0",
        b"\xc6\xff\xff\xff\xff\xc0",
        b"\xdb\xff\xff\xff\xff\xc0",
        b"\xdf\x80\0\0\0\xc0",
    ] {
        let message = decode_request(Encoding::Msgpack, bytes, &Limits::default());
        assert_eq!(message, Err(DecodeError::Truncated));
    }
}

/// Such a name, written again, would be read as opcodes by whoever gets it.
#[test]
fn names_of_globals_hold_no_line_ends() {
    let bytes = b"\x80\x04\x8c\x08builtins\x8c\x09object\n)R\x93.";
    assert!(matches!(decode(bytes), Err(DecodeError::Global { .. })));
}

#[test]
fn keys_that_python_cannot_hash_are_refused() {
    for bytes in [&b"}]Ns."[..], b"}}Ns.", b"}]\x85Ns."] {
        assert_eq!(decode(bytes), Err(DecodeError::UnhashableKey));
    }
    let message = decode_request(Encoding::Msgpack, b"\x81\x81\x01\x02\x03", &Limits::default());
    assert_eq!(message, Err(DecodeError::UnhashableKey));
}
