use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeo_proto::client_side::{Incoming, decode_incoming, encode_call};
use zeo_proto::handshake::{Answer, greeting, parse_answer};
use zeo_proto::{Encoding, Limits, MsgId, Tid, Value, frame};

/// No frame of a test is larger; what the peer announces beyond it is an error.
const FRAME_MAX: u32 = 256 << 20;

/// The server answered a call with an exception.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Module and name of the exception.
    pub class: String,
    /// Its arguments, as they came.
    pub args: Value<'static>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.class, self.args)
    }
}

impl std::error::Error for Refused {}

/// A registered client connection, one call at a time. Pushes from the server are read and dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    encoding: Encoding,
    input: BytesMut,
    output: Vec<u8>,
    last_call: i64,
    /// How an `invalidateTransaction` begins: by far the most frequent push, told apart without decoding it.
    invalidation: Vec<u8>,
    /// The last tid that the server gave at `register`.
    registered_at: Tid,
}

impl Connection {
    /// Connects, takes the encoding that the server offers, and registers for storage `1`.
    ///
    /// # Errors
    /// No connection, no ZEO greeting, or a refusal of `register`.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let mut connection = Self::greet(address).await?;
        let tid = connection.call("register", &[Value::from("1"), Value::Bool(false)]).await?;
        connection.registered_at = tid.as_tid().context("register returns a tid")?;
        Ok(connection)
    }

    /// Connects and registers for storage `1`, read-only.
    ///
    /// # Errors
    /// No connection, or the server refuses.
    pub async fn open_read_only(address: SocketAddr) -> Result<Self> {
        let mut connection = Self::greet(address).await?;
        let tid = connection.call("register", &[Value::from("1"), Value::Bool(true)]).await?;
        connection.registered_at = tid.as_tid().context("register returns a tid")?;
        Ok(connection)
    }

    /// Connects and shakes hands, without `register`.
    ///
    /// # Errors
    /// No connection, or no ZEO greeting.
    pub async fn greet(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            encoding: Encoding::Pickle,
            input: BytesMut::with_capacity(64 << 10),
            output: Vec::with_capacity(8 << 10),
            last_call: 0,
            invalidation: Vec::new(),
            registered_at: Tid::ZERO,
        };
        let offered = connection.frame().await?;
        let Answer::Protocol(encoding) = parse_answer(&offered) else { bail!("greeted with {offered:?}") };
        connection.encoding = encoding;
        connection.invalidation = beginning_of_push(encoding, "invalidateTransaction");
        frame::write(&mut connection.output, |out| out.extend_from_slice(greeting(encoding)));
        connection.flush().await?;
        Ok(connection)
    }

    /// What this connection speaks.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The server's last tid when this connection registered.
    pub fn registered_at(&self) -> Tid {
        self.registered_at
    }

    /// The socket, for a driver that reads and writes frames itself. Nothing may be outstanding.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Where frames for the next [`flush`](Self::flush) are collected.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Collects a call that wants no reply.
    pub fn post(&mut self, method: &str, args: &[Value<'_>]) {
        encode_call(self.encoding, &mut self.output, &MsgId::NONE, true, method, args);
    }

    /// Sends what was collected.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Sends what was collected and this call, and waits for its reply.
    ///
    /// # Errors
    /// [`Refused`] where the server answers with an exception; else the connection is gone or talks nonsense.
    pub async fn call(&mut self, method: &str, args: &[Value<'_>]) -> Result<Value<'static>> {
        self.last_call += 1;
        let expected = MsgId::Int(self.last_call);
        encode_call(self.encoding, &mut self.output, &expected, false, method, args);
        self.flush().await?;
        loop {
            let frame = self.frame().await?;
            if frame.starts_with(&self.invalidation) {
                continue;
            }
            match decode_incoming(self.encoding, &frame, &Limits::REPLIES)? {
                Incoming::Call { .. } => {}
                Incoming::Reply { msgid, result } if msgid == expected => return Ok(result.into_owned()),
                Incoming::Error { msgid, class, args } if msgid == expected => {
                    return Err(Refused { class, args: args.into_owned() }.into());
                }
                other => bail!("{method} was answered out of turn: {other:?}"),
            }
        }
    }

    /// The next frame's payload.
    async fn frame(&mut self) -> Result<Bytes> {
        loop {
            if let Some(frame) = frame::split(&mut self.input, FRAME_MAX)? {
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the server closed the connection");
            }
        }
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
