//! Frames: a length of 4 bytes, big-endian, and that many bytes of payload (`ZEO/asyncio/base.py`).
//!
//! The protocol has no upper limit of its own; the caller says what it accepts, and a longer frame is refused
//! when its length is read, before its bytes are waited for.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

const LENGTH_BYTES: usize = 4;

/// A peer announced a frame above the caller's limit. Nothing was consumed; the connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a frame of {length} bytes was announced, {max} is the limit")]
pub struct FrameTooLarge {
    /// What was announced, in bytes, without the length itself.
    pub length: u32,
    /// What the caller accepts, in bytes.
    pub max: u32,
}

/// Takes one whole frame off the front of `buf`, and gives its payload without copying it. `None`: more bytes
/// are needed.
///
/// # Errors
/// [`FrameTooLarge`] as soon as the length is there, if it is above `max` bytes.
pub fn split(buf: &mut BytesMut, max: u32) -> Result<Option<Bytes>, FrameTooLarge> {
    let Some(length) = announced(buf, max)? else { return Ok(None) };
    if buf.len() - LENGTH_BYTES < length {
        return Ok(None);
    }
    buf.advance(LENGTH_BYTES);
    Ok(Some(buf.split_to(length).freeze()))
}

/// Finds one whole frame at the front of `buf`: its payload, and the number of bytes it takes with its length.
/// `None`: more bytes are needed.
///
/// # Errors
/// [`FrameTooLarge`] as soon as the length is there, if it is above `max` bytes.
pub fn peek(buf: &[u8], max: u32) -> Result<Option<(&[u8], usize)>, FrameTooLarge> {
    let Some(length) = announced(buf, max)? else { return Ok(None) };
    let payload = buf[LENGTH_BYTES..].get(..length);
    Ok(payload.map(|payload| (payload, LENGTH_BYTES + length)))
}

/// Appends a frame whose payload `fill` appends.
///
/// # Panics
/// If the payload is 4 GiB or longer: the format has no way to say so.
pub fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    fill(out);
    let length = length_of(out.len() - start - LENGTH_BYTES);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length);
}

/// The four bytes before a payload of so many bytes.
pub(crate) fn length_of(payload_bytes: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(payload_bytes).expect("a frame holds less than 4 GiB").to_be_bytes()
}

fn announced(buf: &[u8], max: u32) -> Result<Option<usize>, FrameTooLarge> {
    let Some(prefix) = buf.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix);
    if length > max {
        return Err(FrameTooLarge { length, max });
    }
    Ok(Some(length as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, |out| out.extend_from_slice(b"one"));
        write(&mut bytes, |_| ());
        bytes
    }

    #[test]
    fn frames_are_split_one_by_one() {
        let mut buf = BytesMut::from(&two_frames()[..]);
        assert_eq!(split(&mut buf, 10).unwrap().unwrap(), &b"one"[..]);
        assert_eq!(split(&mut buf, 10).unwrap().unwrap(), &b""[..]);
        assert_eq!(split(&mut buf, 10), Ok(None));
    }

    #[test]
    fn a_frame_is_given_only_when_it_is_whole() {
        let bytes = two_frames();
        for end in 0..7 {
            assert_eq!(peek(&bytes[..end], 10), Ok(None));
            let mut buf = BytesMut::from(&bytes[..end]);
            assert_eq!(split(&mut buf, 10), Ok(None));
            assert_eq!(buf.len(), end, "an incomplete frame is left alone");
        }
        assert_eq!(peek(&bytes, 10), Ok(Some((&b"one"[..], 7))));
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_its_bytes_are_there() {
        let error = FrameTooLarge { length: 11, max: 10 };
        assert_eq!(peek(&[0, 0, 0, 11], 10), Err(error));
        assert_eq!(split(&mut BytesMut::from(&[0, 0, 0, 11][..]), 10), Err(error));
        assert_eq!(peek(&[0, 0, 0, 10], 10), Ok(None));
    }
}
