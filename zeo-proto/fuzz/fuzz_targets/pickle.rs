//! The pickle decoder: as a request, as a reply, and as what is stored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zeo_proto::client_side::decode_incoming;
use zeo_proto::{Encoding, Limits, decode_request, pickle};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let _ = decode_request(Encoding::Pickle, bytes, &limits);
    let _ = decode_incoming(Encoding::Pickle, bytes, &limits);
    if let Ok(value) = pickle::decode(bytes, &limits) {
        let mut out = Vec::new();
        pickle::encode(&mut out, &value);
        let again = pickle::decode(&out, &Limits::REPLIES).expect("what was written can be read");
        // Not compared as values: a number that is none is not equal to itself.
        assert_eq!(value.to_string(), again.to_string());
    }
});
