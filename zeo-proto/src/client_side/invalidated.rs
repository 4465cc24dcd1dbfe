use crate::fast::Walk;
use crate::{Encoding, Oid, Tid};

/// Recognises the payload of a frame that is an `invalidateTransaction`, and takes it apart without building values: of a
/// thousand clients each is told of every commit. `None`: it says something else, or says it in another way, which
/// [`decode_incoming`](super::decode_incoming) tells.
pub fn decode_invalidated(encoding: Encoding, frame: &[u8]) -> Option<(Tid, Vec<Oid>)> {
    let mut walk = Walk(frame);
    match encoding {
        Encoding::Pickle => decode_pickle(&mut walk),
        Encoding::Msgpack => decode_msgpack(&mut walk),
    }
}

fn decode_pickle(walk: &mut Walk<'_>) -> Option<(Tid, Vec<Oid>)> {
    walk.expect(b"\x80\x03(K\0\x88X\x15\0\0\0invalidateTransactionC\x08")?;
    let tid = Tid::from_bytes(walk.array()?);
    walk.expect(b"]")?;
    let mut oids = Vec::new();
    match walk.0.first()? {
        b'C' => {
            walk.expect(b"C\x08")?;
            oids.push(Oid::from_bytes(walk.array()?));
            walk.expect(b"a")?;
        }
        b'(' => {
            walk.expect(b"(")?;
            while walk.0.first()? != &b'e' {
                walk.expect(b"C\x08")?;
                oids.push(Oid::from_bytes(walk.array()?));
            }
            walk.expect(b"e")?;
        }
        _ => {}
    }
    (walk.0 == b"\x86t.").then_some((tid, oids))
}

fn decode_msgpack(walk: &mut Walk<'_>) -> Option<(Tid, Vec<Oid>)> {
    walk.expect(b"\x94\0\xc3\xb5invalidateTransaction\x92\xc4\x08")?;
    let tid = Tid::from_bytes(walk.array()?);
    let count = match walk.array()? {
        [short @ 0x90..=0x9f] => usize::from(short & 0x0f),
        [0xdc] => u16::from_be_bytes(walk.array()?).into(),
        [0xdd] => u32::from_be_bytes(walk.array()?) as usize,
        _ => return None,
    };
    const OID_BYTES: usize = 10;
    let mut oids = Vec::with_capacity(count.min(walk.0.len() / OID_BYTES));
    for _ in 0..count {
        walk.expect(b"\xc4\x08")?;
        oids.push(Oid::from_bytes(walk.array()?));
    }
    walk.0.is_empty().then_some((tid, oids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Value};

    #[test]
    fn what_a_server_pushes_is_recognised_and_nothing_else_is() {
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            let encoder = Encoder::new(encoding);
            for count in [0, 1, 2, 15, 16, 70_000] {
                let (mut out, tid) = (Vec::new(), Tid::new(7));
                let oids: Vec<Oid> = (0..count).map(Oid::new).collect();
                encoder.invalidate_transaction(&mut out, tid, &oids);
                let decoded = decode_invalidated(encoding, &out[4..]);
                // Long lists are pickled in pieces, which is left to the decoder.
                if count < 1_000 || encoding == Encoding::Msgpack {
                    assert_eq!(decoded, Some((tid, oids)), "{encoding:?}, {count}");
                } else {
                    assert!(decoded.is_none_or(|decoded| decoded == (tid, oids)));
                }
                assert_eq!(decode_invalidated(encoding, &out[4..out.len() - 1]), None);
            }
            let mut other = Vec::new();
            encoder.info(&mut other, &[("length", Value::Int(1))]);
            assert_eq!(decode_invalidated(encoding, &other[4..]), None);
        }
    }
}
