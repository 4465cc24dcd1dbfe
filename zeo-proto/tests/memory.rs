//! What a hostile message can make the decoders ask for. In a file of its own, since it counts what the whole
//! process has allocated.

use peak_alloc::PeakAlloc;
use zeo_proto::{Encoding, Limits, decode_request, pickle};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The default limit allows 65,536 values. At some hundred bytes each, while a vector of them grows, that is:
const BYTES_MAX: usize = 10_000_000;

/// Decodes a message that must be refused, and gives the bytes that it took at the peak.
fn bytes_to_refuse(encoding: Encoding, message: &[u8]) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let refused = match encoding {
        Encoding::Pickle => pickle::decode(message, &Limits::default()).is_err(),
        Encoding::Msgpack => decode_request(encoding, message, &Limits::default()).is_err(),
    };
    assert!(refused);
    ALLOCATED.peak_usage() - before
}

fn wide_pickles() -> Vec<Vec<u8>> {
    let n = 1_000_000;
    vec![
        [&b"("[..], &b"N".repeat(n), b"t."].concat(),
        [&b"("[..], &b"]".repeat(n), b"t."].concat(),
        [&b"("[..], &b")".repeat(n), b"t."].concat(),
        [&b"N"[..], &b"2".repeat(n), b"."].concat(),
        [&b"("[..], &b"(".repeat(n), b"t."].concat(),
        [&b"("[..], &b"\x8f".repeat(n), b"t."].concat(),
        [&b"(Nq\0"[..], &b"h\0".repeat(n), b"t."].concat(),
        [&b"N"[..], &b"\x94".repeat(n), b"."].concat(),
        [&b"cbuiltins\nobject\nq\0)q\x010"[..], &b"h\0h\x01R".repeat(n / 5), b"."].concat(),
    ]
}

/// Arrays in arrays, each announcing about as much as there are bytes left.
fn nested_arrays() -> Vec<u8> {
    let mut bytes = Vec::new();
    for left in (0..60).rev() {
        bytes.extend_from_slice(&[0xdd, 0, 0, 0xf0, left]);
    }
    bytes.resize(70_000, 0xc0);
    bytes
}

/// Dictionaries in dictionaries, each of which has one long dictionary many times, by reference.
fn nested_references() -> Vec<u8> {
    let mut bytes = b"}q\0(".to_vec();
    for n in 0..10_000u16 {
        let [low, high] = n.to_le_bytes();
        bytes.extend_from_slice(&[b'M', low, high, b'N']);
    }
    bytes.extend_from_slice(b"u");
    for level in 0..50 {
        bytes.extend_from_slice(&[b'}', b'q', level + 1, b'(', b'N', b'h', level]);
        (0..100u8).for_each(|n| bytes.extend_from_slice(&[b'K', n, b'h', 0]));
        bytes.extend_from_slice(b"u");
    }
    bytes.extend_from_slice(b".");
    bytes
}

#[test]
fn refusing_a_hostile_message_takes_little_memory() {
    for (index, message) in wide_pickles().iter().enumerate() {
        let bytes = bytes_to_refuse(Encoding::Pickle, message);
        assert!(bytes < BYTES_MAX, "wide pickle {index}: {bytes} bytes");
    }
    let bytes = bytes_to_refuse(Encoding::Pickle, &nested_references());
    assert!(bytes < BYTES_MAX, "nested references: {bytes} bytes");
    let bytes = bytes_to_refuse(Encoding::Msgpack, &nested_arrays());
    assert!(bytes < BYTES_MAX, "nested arrays: {bytes} bytes");
}
