//! A client that sends whatever bytes a test has thought of.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::BytesMut;
use zeo_proto::client_side::{Incoming, decode_incoming, encode_call};
use zeo_proto::{Encoding, Limits, MsgId, Value, frame, handshake};

/// How long a server may take to answer or to hang up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server did about a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Reaction {
    /// It closed the connection without a reply.
    Closed,
    /// It returned something.
    Returned(Value<'static>),
    /// It raised the exception of this class.
    Raised(String),
}

/// A raw connection.
#[derive(Debug)]
pub struct Rude {
    stream: TcpStream,
    encoding: Encoding,
    input: BytesMut,
}

impl Rude {
    /// Connects, and does nothing more.
    ///
    /// # Errors
    /// No connection.
    pub fn connect(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, encoding, input: BytesMut::new() })
    }

    /// Connects and chooses this encoding, whatever is offered.
    ///
    /// # Errors
    /// No connection, or no greeting.
    pub fn greet(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        let mut rude = Self::connect(address, encoding)?;
        if rude.frame()?.is_none() {
            bail!("closed instead of greeting");
        }
        rude.send_frame(handshake::greeting(encoding))?;
        Ok(rude)
    }

    /// A registered client.
    ///
    /// # Errors
    /// No connection, or `register` was refused.
    pub fn register(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        let mut rude = Self::greet(address, encoding)?;
        match rude.call("register", &[Value::from("1"), Value::Bool(false)])? {
            Reaction::Returned(_) => Ok(rude),
            other => bail!("register: {other:?}"),
        }
    }

    /// The socket.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends bytes as they are. That the server has hung up already is no error.
    ///
    /// # Errors
    /// The server neither takes the bytes nor hangs up.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Sends bytes as one frame.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_frame(&mut self, payload: &[u8]) -> Result<()> {
        let mut out = Vec::with_capacity(payload.len() + 4);
        frame::write(&mut out, |out| out.extend_from_slice(payload));
        self.send(&out)
    }

    /// Sends a call that wants no reply.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn post(&mut self, method: &str, args: &[Value<'_>]) -> Result<()> {
        let mut out = Vec::new();
        encode_call(self.encoding, &mut out, &MsgId::NONE, true, method, args);
        self.send(&out)
    }

    /// Sends a call and waits for what the server does.
    ///
    /// # Errors
    /// The server does nothing.
    pub fn call(&mut self, method: &str, args: &[Value<'_>]) -> Result<Reaction> {
        let mut out = Vec::new();
        encode_call(self.encoding, &mut out, &MsgId::Int(7), false, method, args);
        self.send(&out)?;
        self.reaction()
    }

    /// What the server does next, pushes apart.
    ///
    /// # Errors
    /// The server does nothing, or talks nonsense.
    pub fn reaction(&mut self) -> Result<Reaction> {
        while let Some(frame) = self.frame()? {
            match decode_incoming(self.encoding, &frame, &Limits::REPLIES)? {
                Incoming::Call { .. } => {}
                Incoming::Reply { result, .. } => return Ok(Reaction::Returned(result.into_owned())),
                Incoming::Error { class, .. } => return Ok(Reaction::Raised(class)),
            }
        }
        Ok(Reaction::Closed)
    }

    /// The next frame; `None` when the server has hung up.
    ///
    /// # Errors
    /// The server does nothing.
    pub fn frame(&mut self) -> Result<Option<bytes::Bytes>> {
        let deadline = Instant::now() + PATIENCE;
        let mut chunk = [0; 64 << 10];
        loop {
            if let Some(frame) = frame::split(&mut self.input, u32::MAX)? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                bail!("neither a frame nor an end in {PATIENCE:?}");
            }
        }
    }
}
