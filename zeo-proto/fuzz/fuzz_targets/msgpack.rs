//! The msgpack decoder: as a request and as a reply, which is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zeo_proto::client_side::{Incoming, decode_incoming};
use zeo_proto::{Encoder, Encoding, Limits, decode_request};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let _ = decode_request(Encoding::Msgpack, bytes, &limits);
    if let Ok(Incoming::Reply { msgid, result }) = decode_incoming(Encoding::Msgpack, bytes, &limits) {
        let mut out = Vec::new();
        Encoder::new(Encoding::Msgpack).reply(&mut out, &msgid, &result);
        let again = decode_incoming(Encoding::Msgpack, &out[4..], &Limits::REPLIES);
        let Ok(Incoming::Reply { result: again, .. }) = again else { panic!("what was written can be read") };
        // Not compared as values: a number that is none is not equal to itself.
        assert_eq!(result.to_string(), again.to_string());
    }
});
