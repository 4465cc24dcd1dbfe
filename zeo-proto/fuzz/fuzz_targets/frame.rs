//! The frame reader: both forms find the same frames, whichever way the bytes arrive.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use zeo_proto::frame;

const MAX: u32 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let mut whole = BytesMut::from(bytes);
    let mut rest = bytes;
    loop {
        let borrowed = frame::peek(rest, MAX);
        let owned = frame::split(&mut whole, MAX);
        match (borrowed, owned) {
            (Ok(Some((payload, length))), Ok(Some(same))) => {
                assert_eq!(payload, same);
                rest = &rest[length..];
            }
            (Ok(None), Ok(None)) => break,
            (Err(one), Err(other)) => {
                assert_eq!(one, other);
                break;
            }
            (one, other) => panic!("{one:?} is not {other:?}"),
        }
        assert_eq!(rest, whole);
    }
});
