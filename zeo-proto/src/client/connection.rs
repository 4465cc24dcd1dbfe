use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::calls::{self, Call};
use super::push::Push;
use super::{Address, Error, Refused, Stream};
use crate::client_side::{Incoming, decode_incoming, encode_call};
use crate::handshake::{Answer, greeting, parse_answer};
use crate::{Encoding, Limits, MsgId, Tid, Value, frame};

/// No frame may be longer, in bytes: far above what servers send, which is a record and what goes with it.
const FRAME_BYTES_MAX: u32 = 1 << 30;
/// What is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// One connection to one server, one call at a time, without a cache and without going anywhere else when it breaks:
/// what a [`Client`](super::Client) is built on, and enough for a tool or a load driver.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    encoding: Encoding,
    input: BytesMut,
    output: Vec<u8>,
    /// How much of the output was sent.
    sent: usize,
    /// How many bytes have come.
    received: u64,
    last_call: i64,
    /// How an `invalidateTransaction` begins: by far the most frequent push, told apart without decoding it.
    invalidation: Vec<u8>,
    /// What the server has told while something else was waited for; `None`: it is dropped.
    pushes: Option<VecDeque<Push>>,
    registered_at: Tid,
}

impl Connection {
    /// Connects, takes the encoding that the server offers, and registers for storage `1`. What the server tells by
    /// itself is dropped.
    ///
    /// # Errors
    /// No connection, no ZEO greeting, or a refusal of `register`. A node that is not the primary keeps its clients
    /// waiting for the greeting, for as long as it takes.
    pub async fn open(address: impl Into<Address>) -> Result<Self, Error> {
        Self::open_as(address.into(), false).await
    }

    /// The same, read-only.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn open_read_only(address: impl Into<Address>) -> Result<Self, Error> {
        Self::open_as(address.into(), true).await
    }

    async fn open_as(address: Address, read_only: bool) -> Result<Self, Error> {
        let mut connection = Self::greet(Stream::connect(&address).await?, None).await?;
        connection.register("1", read_only).await?;
        Ok(connection)
    }

    /// Waits for the server's greeting, and answers with this encoding, or with the one that is offered.
    ///
    /// # Errors
    /// The stream ends, or what comes is no greeting.
    pub async fn greet(stream: Stream, encoding: Option<Encoding>) -> Result<Self, Error> {
        let mut connection = Self {
            stream,
            encoding: Encoding::Pickle,
            input: BytesMut::with_capacity(READ_BYTES),
            output: Vec::with_capacity(8 << 10),
            sent: 0,
            received: 0,
            last_call: 0,
            invalidation: Vec::new(),
            pushes: None,
            registered_at: Tid::ZERO,
        };
        let offered = connection.frame().await?;
        let Answer::Protocol(offered) = parse_answer(&offered) else {
            return Err(Error::protocol(format!("greeted with {offered:?}")));
        };
        let encoding = encoding.unwrap_or(offered);
        connection.encoding = encoding;
        connection.invalidation = beginning_of_push(encoding, "invalidateTransaction");
        frame::write(&mut connection.output, |out| out.extend_from_slice(greeting(encoding)));
        Ok(connection)
    }

    /// Chooses the storage. The server's last transaction; from now on it tells of those that follow.
    ///
    /// # Errors
    /// The server refuses: it has no such storage, or it is read-only (`ReadOnlyError`), and another may be asked for.
    pub async fn register(&mut self, storage: &str, read_only: bool) -> Result<Tid, Error> {
        self.registered_at = self.ask(calls::register(storage, read_only)).await?;
        Ok(self.registered_at)
    }

    /// Keeps what the server tells by itself, for [`Connection::take_pushes`], from now on.
    pub fn keep_pushes(&mut self) {
        self.pushes.get_or_insert_default();
    }

    /// What the server has told while something else was waited for, in order.
    pub fn take_pushes(&mut self) -> Vec<Push> {
        self.pushes.as_mut().map_or(Vec::new(), |pushes| pushes.drain(..).collect())
    }

    /// What this connection speaks.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The server's last transaction when this connection registered.
    pub fn registered_at(&self) -> Tid {
        self.registered_at
    }

    /// The stream, for one that reads and writes frames itself. Nothing may be outstanding.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Where frames are collected that are sent with the next call.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// How much was collected and not sent, in bytes.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// How much has come, in bytes: a sign of life.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Collects a call that wants no reply. If the server refuses it, it closes the connection.
    pub fn post(&mut self, method: &str, args: &[Value<'_>]) {
        encode_call(self.encoding, &mut self.output, &MsgId::NONE, true, method, args);
    }

    /// The same for a call whose arguments are typed.
    pub fn post_call<T>(&mut self, call: &Call<'_, T>) {
        self.post(call.method, &call.args);
    }

    /// Sends what was collected.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        Ok(poll_fn(|cx| self.poll_send(cx)).await?)
    }

    /// Sends what was collected and this call, and waits for its answer.
    ///
    /// # Errors
    /// The server refuses, the connection is gone, or the answer makes no sense.
    pub async fn ask<T>(&mut self, call: Call<'_, T>) -> Result<T, Error> {
        let value = self.call(call.method, &call.args).await?;
        (call.answer)(value).ok_or_else(|| Error::protocol(format!("the answer to {}", call.method)))
    }

    /// The same for a call by its name, whose answer is a value.
    ///
    /// # Errors
    /// The server refuses, the connection is gone, or it was answered out of turn.
    pub async fn call(&mut self, method: &str, args: &[Value<'_>]) -> Result<Value<'static>, Error> {
        self.last_call += 1;
        let expected = MsgId::Int(self.last_call);
        encode_call(self.encoding, &mut self.output, &expected, false, method, args);
        loop {
            let frame = self.frame().await?;
            if self.pushes.is_none() && self.is_invalidation(&frame) {
                continue;
            }
            match decode_incoming(self.encoding, &frame, &Limits::REPLIES).map_err(Error::protocol)? {
                Incoming::Call { method, args } => {
                    if let Some(pushes) = &mut self.pushes {
                        pushes.extend(Push::of(&method, &args)?);
                    }
                }
                Incoming::Reply { msgid, result } if msgid == expected => return Ok(result.into_owned()),
                Incoming::Error { msgid, class, args } if msgid == expected => {
                    return Err(Error::Refused(Arc::new(Refused { class, args: args.into_owned() })));
                }
                other => {
                    return Err(Error::protocol(format!("{method} was answered out of turn: {other:?}")));
                }
            }
        }
    }

    /// Whether the payload of a frame is an `invalidateTransaction`.
    pub(super) fn is_invalidation(&self, frame: &[u8]) -> bool {
        frame.starts_with(&self.invalidation)
    }

    /// The next frame's payload. What was collected is sent meanwhile. If the future is dropped, nothing is lost.
    ///
    /// # Errors
    /// The connection is gone, or announces a frame of more than a gigabyte.
    pub async fn frame(&mut self) -> Result<Bytes, Error> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        // Reading goes on while the server does not take what is sent: it may be waiting for that.
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            match frame::split(&mut self.input, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => return Poll::Ready(Ok(frame)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Error::protocol(error))),
            }
            let announced = self.input.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
            let missing = (announced + 4).saturating_sub(self.input.len());
            if self.input.capacity() - self.input.len() < missing.max(READ_BYTES / 8) {
                // What is announced is believed as far as it has come.
                self.input.reserve(missing.min(self.input.len().max(1 << 20)).max(READ_BYTES));
            }
            let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(Err(Error::disconnected("the server closed the connection")));
            }
            self.received += read as u64;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.output.len() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.output.clear();
        self.output.shrink_to(READ_BYTES * 16);
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// What all pushes of a method have in common at the beginning of their payload.
fn beginning_of_push(encoding: Encoding, method: &str) -> Vec<u8> {
    let push = |args: &[Value<'_>]| {
        let mut out = Vec::new();
        encode_call(encoding, &mut out, &MsgId::NONE, true, method, args);
        out.split_off(4)
    };
    let (some, other) = (push(&[Value::None, Value::None]), push(&[]));
    let common = some.iter().zip(&other).take_while(|(a, b)| a == b).count();
    some[..common].to_vec()
}
