//! Plain HTTP/1.1 requests, written out: what a control API answers to whoever sends whatever.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// The head, with its first line.
    pub head: String,
    /// What comes after it.
    pub body: String,
}

impl Response {
    /// The value of a header of the head.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The `error` of a refusal's body.
    ///
    /// # Errors
    /// It is no such body.
    pub fn error(&self) -> Result<String> {
        let body: standby_control::Failure =
            serde_json::from_str(&self.body).with_context(|| format!("{self:?} is no refusal"))?;
        Ok(body.error)
    }
}

/// A request, with its parts as they are sent.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<String>,
    body: &'a str,
}

impl<'a> Request<'a> {
    /// `GET /live`, and the like.
    pub fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, headers: Vec::new(), body: "" }
    }

    /// With a header, such as `Authorization: Bearer x`.
    #[must_use]
    pub fn header(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &'a str) -> Self {
        Self { body, ..self }.header("Content-Type: application/json")
    }

    /// Sends it over TCP.
    ///
    /// # Errors
    /// Nobody answers, or something else than HTTP.
    pub fn send(&self, address: SocketAddr) -> Result<Response> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("{address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.exchange(stream)
    }

    /// Sends it to a local socket.
    ///
    /// # Errors
    /// Nobody answers, or something else than HTTP.
    pub fn send_to(&self, socket: &Path) -> Result<Response> {
        let stream = UnixStream::connect(socket).with_context(|| format!("{}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.exchange(stream)
    }

    fn exchange(&self, mut stream: impl Read + Write) -> Result<Response> {
        let Self { method, target, headers, body } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        // Whoever refuses a large body may answer and close before it has it all.
        let _ = stream.write_all(text.as_bytes());
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !answer.is_empty() => {}
            read => drop(read?),
        }
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
    }
}

/// `GET`, without anything else.
///
/// # Errors
/// As [`Request::send`].
pub fn get(address: SocketAddr, target: &str) -> Result<Response> {
    Request::new("GET", target).send(address)
}
