//! How fast messages pass over a peer connection on this machine's loopback, beside a bare TCP copy.
//!
//!     cargo run --release -p standby --example peer_throughput [GIB [MESSAGE_BYTES]]
//!
//! Both ends run in this process; "CPU" is what they take together, kernel included.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use standby::peer::{ChannelOptions, Connection, Hello, Identity, Incoming, PeerListener, Protection, dial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs of each kind; the best counts.
const ROUNDS: usize = 5;
const REQUESTS: u32 = 20_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let gib: f64 = arguments.next().map_or(Ok(1.0), |text| text.parse())?;
    let message_bytes: usize = arguments.next().map_or(Ok(64 << 10), |text| text.parse())?;
    let messages = ((gib * f64::from(1 << 30)) as usize / message_bytes).max(1);
    tokio::spawn(measure(messages, message_bytes)).await? // not on the main thread, which is none of the runtime's own
}

async fn measure(messages: usize, message_bytes: usize) -> Outcome<()> {
    println!("{messages} messages of {message_bytes} bytes, best of {ROUNDS} rounds");
    println!("{:<28}{:>8}{:>14}", "", "GB/s", "CPU s per GB");
    let mut best = [Run::default(), Run::default(), Run::default()];
    for _ in 0..ROUNDS {
        best[0].keep(bare(messages, message_bytes).await?);
        best[1].keep(peer(Protection::Checksum, messages, message_bytes).await?);
        best[2].keep(peer(Protection::Noise, messages, message_bytes).await?);
    }
    for (name, run) in ["bare TCP", "peer, checksum", "peer, Noise (AES-256-GCM)"].iter().zip(best) {
        println!("{name:<28}{:>8.2}{:>14.2}", run.gb_per_second, run.cpu_seconds_per_gb);
    }
    let (one, other) = connected(Protection::Noise).await?;
    let each = requests(one, other).await?;
    println!("a request and its answer, one at a time: {:.1} us", each.as_secs_f64() * 1e6);
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Run {
    gb_per_second: f64,
    cpu_seconds_per_gb: f64,
}

impl Run {
    fn since(start: Instant, cpu_start: f64, bytes: usize) -> Outcome<Self> {
        let gb = bytes as f64 / 1e9;
        let cpu = cpu_seconds()? - cpu_start;
        Ok(Self { gb_per_second: gb / start.elapsed().as_secs_f64(), cpu_seconds_per_gb: cpu / gb })
    }

    fn keep(&mut self, other: Self) {
        if other.gb_per_second > self.gb_per_second {
            *self = other;
        }
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> Outcome<f64> {
    const TICKS_PER_SECOND: f64 = 100.0; // what Linux tells programs, whatever it uses itself
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_SECOND)
}

/// What the machine does without us.
async fn bare(messages: usize, message_bytes: usize) -> Outcome<Run> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (mut server, _) = listener.accept().await?;
    let bytes = messages * message_bytes;
    let (start, cpu_start) = (Instant::now(), cpu_seconds()?);
    let sender = tokio::spawn(async move {
        let message = vec![7; message_bytes];
        for _ in 0..messages {
            client.write_all(&message).await?;
        }
        client.shutdown().await
    });
    let (mut buffer, mut received) = (vec![0; 256 << 10], 0);
    loop {
        match server.read(&mut buffer).await? {
            0 => break,
            count => received += count,
        }
    }
    sender.await??;
    assert_eq!(received, bytes);
    Run::since(start, cpu_start, bytes)
}

async fn connected(protection: Protection) -> Outcome<(Connection, Connection)> {
    let identity = |node: &str| -> Outcome<Identity> {
        let hello = Hello {
            cluster: "bench".to_owned(),
            node: node.to_owned(),
            group: "here".to_owned(),
            features: Vec::new(),
        };
        Ok(Identity::new(hello, b"secret")?.with_protection(protection))
    };
    let mut listener = PeerListener::bind("127.0.0.1:0", Arc::new(identity("b")?)).await?;
    let (address, own) = (listener.address()?.to_string(), identity("a")?);
    let (one, other) = tokio::join!(dial(&address, &own), listener.next());
    Ok((one?, other))
}

async fn peer(protection: Protection, messages: usize, message_bytes: usize) -> Outcome<Run> {
    let (one, other) = connected(protection).await?;
    let accept =
        async { other.next_opening().await.map(|opening| opening.accept(ChannelOptions::default())) };
    let (sender, receiver) = tokio::join!(one.open("bench", ChannelOptions::default()), accept);
    let (sender, mut receiver) = (sender?, receiver.ok_or("no channel")??);
    let (start, cpu_start) = (Instant::now(), cpu_seconds()?);
    let sending = tokio::spawn(async move {
        let message = Bytes::from(vec![7; message_bytes]);
        for _ in 0..messages {
            sender.send(message.clone()).await?;
        }
        Ok::<_, standby::peer::ChannelError>(sender)
    });
    for _ in 0..messages {
        match receiver.recv().await? {
            Some(Incoming::Message(message)) => assert_eq!(message.len(), message_bytes),
            other => return Err(format!("{other:?} is no message").into()),
        }
    }
    let run = Run::since(start, cpu_start, messages * message_bytes);
    drop(sending.await??);
    run
}

async fn requests(one: Connection, other: Connection) -> Outcome<Duration> {
    let server = tokio::spawn(async move {
        let opening = other.next_opening().await.expect("asked for");
        let mut channel = opening.accept(ChannelOptions::small()).expect("still asked for");
        while let Ok(Some(Incoming::Request(request))) = channel.recv().await {
            let body = request.body().clone();
            let _ = request.answer(body).await; // who asks may be gone
        }
    });
    let channel = one.open("calls", ChannelOptions::small()).await?;
    let start = Instant::now();
    for number in 0..REQUESTS {
        channel.call(Bytes::copy_from_slice(&number.to_be_bytes()), Duration::from_secs(5)).await?;
    }
    let each = start.elapsed() / REQUESTS;
    drop(channel);
    server.await?;
    Ok(each)
}
