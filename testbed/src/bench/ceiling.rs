//! What this machine could do at best: a server that does nothing but answer, and a log that is nothing but a log.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeo_proto::{Encoder, Encoding, MsgId, Oid, Tid};

/// The bare copy reads and writes so much at a time, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// A server on a thread of its own that answers every frame with the same ready-made reply to a load: no lookups, no
/// decoding, no handshake. It lives as long as the process.
pub(super) fn bare_server(encoding: Encoding, record: &[u8]) -> Result<SocketAddr> {
    let mut reply = Vec::new();
    let msgid = MsgId::Load(Oid::ROOT, Tid::MAX);
    Encoder::new(encoding).reply_load(&mut reply, &msgid, record, Tid::from_bytes([4; 8]), None);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("bare-server".into()).spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(answer(stream, reply.clone()));
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        })
    })?;
    Ok(address)
}

/// Answers every frame of one connection, all that came in one read with one write.
async fn answer(mut stream: TcpStream, reply: Vec<u8>) -> std::io::Result<()> {
    let mut input = vec![0; 64 << 10];
    let mut output = Vec::with_capacity(64 << 10);
    let mut filled = 0;
    loop {
        let read = stream.read(&mut input[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        output.clear();
        let mut position = 0;
        while let Some(header) = input[position..filled].first_chunk::<4>() {
            let whole = 4 + u32::from_be_bytes(*header) as usize;
            if whole > filled - position {
                break;
            }
            position += whole;
            output.extend_from_slice(&reply);
        }
        input.copy_within(position..filled, 0);
        filled -= position;
        stream.write_all(&output).await?;
    }
}

/// A copy of a file over loopback to another, with one `fdatasync` at the end: how long it takes.
pub(super) fn bare_copy(from: &Path, to: &Path) -> Result<Duration> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut source = File::open(from)?;
    let began = Instant::now();
    let sending = std::thread::spawn(move || -> Result<()> {
        let mut socket = std::net::TcpStream::connect(address)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match source.read(&mut buffer)? {
                0 => return Ok(()),
                read => socket.write_all(&buffer[..read])?,
            }
        }
    });
    let (mut socket, _) = listener.accept()?;
    let mut target = File::create_new(to)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match socket.read(&mut buffer)? {
            0 => break,
            read => target.write_all(&buffer[..read])?,
        }
    }
    target.sync_data().context("fdatasync")?;
    let took = began.elapsed();
    sending.join().expect("no panic")?;
    std::fs::remove_file(to)?;
    Ok(took)
}

/// Looks, while something else is measured, for how long the disk takes at most to sync a small append.
pub(super) struct DiskWatch {
    over: mpsc::Sender<()>,
    watching: JoinHandle<io::Result<Duration>>,
}

impl DiskWatch {
    /// Seldom enough to be no load by itself.
    const EVERY: Duration = Duration::from_millis(50);

    /// Watches the disk of this folder.
    ///
    /// # Errors
    /// No file can be made there.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let mut file = tempfile::tempfile_in(folder).context("a file of the disk's watch")?;
        let (over, ended) = mpsc::channel();
        let watching = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while ended.recv_timeout(Self::EVERY) == Err(RecvTimeoutError::Timeout) {
                let since = Instant::now();
                file.write_all(&[0x5a; 512])?;
                file.sync_data()?;
                longest = longest.max(since.elapsed());
            }
            Ok(longest)
        });
        Ok(Self { over, watching })
    }

    /// The longest time that it took.
    ///
    /// # Errors
    /// The disk refused a write.
    pub(super) fn longest(self) -> Result<Duration> {
        drop(self.over);
        self.watching.join().expect("no panic").context("the disk's watch")
    }
}

/// Appends of `bytes` each followed by `fdatasync`, per second, on the file system of `folder`.
pub(super) fn bare_appends(folder: &Path, bytes: usize, time: Duration) -> Result<f64> {
    let path = folder.join("bare-append");
    let mut file = File::create(&path)?;
    let data = vec![0x5a; bytes];
    let began = Instant::now();
    let mut appended = 0u32;
    while began.elapsed() < time {
        file.write_all(&data)?;
        file.sync_data().context("fdatasync")?;
        appended += 1;
    }
    let rate = f64::from(appended) / began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}
