//! Shortcuts for the two messages that a busy server reads most, `loadBefore` and `storea`.
//!
//! They recognise the exact bytes that stock clients send and take the arguments from their places, without
//! building values. Whatever looks different is left to the decoders, which give the same for these.

mod msgpack;
mod pickle;

pub(crate) use msgpack::decode as decode_msgpack;
pub(crate) use pickle::decode as decode_pickle;

use std::borrow::Cow;

use crate::{Body, Message, MsgId, Oid, Request, Tid};

type Eight = [u8; 8];

fn load<'a>(msgid: (Eight, Eight), oid: Eight, tid: Eight) -> Message<'a> {
    Message {
        msgid: MsgId::Load(Oid::from_bytes(msgid.0), Tid::from_bytes(msgid.1)),
        oneway: false,
        body: Body::Request(Request::LoadBefore { oid: Oid::from_bytes(oid), before: Tid::from_bytes(tid) }),
    }
}

fn store(oid: Eight, serial: Eight, data: &[u8], id: i64) -> Message<'_> {
    Message {
        msgid: MsgId::NONE,
        oneway: true,
        body: Body::Request(Request::StoreA {
            oid: Oid::from_bytes(oid),
            serial: Some(Tid::from_bytes(serial)),
            data: Cow::Borrowed(data),
            id: id.into(),
        }),
    }
}

/// Walks over bytes that are as expected; `None` at the first that are not.
pub(crate) struct Walk<'a>(pub(crate) &'a [u8]);

impl<'a> Walk<'a> {
    pub(crate) fn expect<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        (self.array::<N>()? == *expected).then_some(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Bytes in pickle, of any length.
    pub(crate) fn pickled_bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.array()? {
            [b'C'] => u8::from_le_bytes(self.array()?).into(),
            [b'B'] => u32::from_le_bytes(self.array()?) as usize,
            _ => return None,
        };
        self.take(length)
    }

    /// Bytes in msgpack, of any length.
    pub(crate) fn packed_bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.array()? {
            [0xc4] => u8::from_be_bytes(self.array()?).into(),
            [0xc5] => u16::from_be_bytes(self.array()?).into(),
            [0xc6] => u32::from_be_bytes(self.array()?) as usize,
            _ => return None,
        };
        self.take(length)
    }
}
