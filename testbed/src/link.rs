//! A network link between two nodes that a test can break: a TCP proxy, in both directions.
//!
//! A node is given [`Link::address`] in place of the address that the link leads to. Everything passes, until the test says
//! otherwise; what it says holds for connections of before and of later.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

/// So much is passed on at a time, in bytes.
const PIECE_BYTES: usize = 16 << 10;
/// So many pieces are on their way at one time; behind them the sender has to wait.
const PIECES_MAX: usize = 1024;
/// No datagram is longer, in bytes.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// One of the two directions of a link, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From whoever connects to the address that the link leads to.
    There,
    /// The other direction.
    Back,
    /// Both.
    Both,
}

impl Way {
    fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// A link. It is gone when dropped, with its connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    there: Direction,
    back: Direction,
    attempts: Mutex<Vec<Instant>>,
}

/// What the link does to what passes.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Connections end, and new ones are not taken.
    cut: bool,
    stalled: Option<Way>,
    delay: Duration,
    bytes_per_second: Option<u64>,
}

/// What the connections of a link share in one direction.
#[derive(Debug)]
struct Direction {
    way: Way,
    passed: AtomicU64,
    /// After so many more bytes, a bit changes.
    flip_after: Mutex<Option<u64>>,
    /// Until then, the bandwidth is used up.
    busy_until: Mutex<Option<Instant>>,
}

impl Link {
    /// A link to this address, on an address of its own.
    pub fn to(target: SocketAddr) -> Result<Self> {
        Self::on(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, target)
    }

    /// The same, on this address. Datagrams pass it, too, in the one direction that they have: there; they are neither
    /// delayed nor counted. A node that tells others this address is heard of in every way.
    pub fn with_datagrams(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let link = Self::on(std::net::TcpListener::bind(address)?, target)?;
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        if let Some(runtime) = &link.runtime {
            runtime.spawn(pass_datagrams(socket, link.shared.clone()));
        }
        Ok(link)
    }

    fn on(listener: std::net::TcpListener, target: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            weather: watch::Sender::new(Weather::default()),
            there: Direction::new(Way::There),
            back: Direction::new(Way::Back),
            attempts: Mutex::default(),
        });
        runtime.spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything passes again, as fast as it comes.
    pub fn pass(&self) {
        self.shared.weather.send_replace(Weather::default());
    }

    /// Connections end with a reset, and new ones do so at once.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cut = true);
    }

    /// Nothing passes in this direction, not even the end of a connection, and nobody is told.
    pub fn stall(&self, way: Way) {
        self.shared.weather.send_modify(|weather| weather.stalled = Some(way));
    }

    /// What is sent arrives so much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// No more than so many bytes a second pass, in each direction.
    pub fn limit_bandwidth(&self, bytes_per_second: u64) {
        self.shared.weather.send_modify(|weather| weather.bytes_per_second = Some(bytes_per_second));
    }

    /// Once, in the byte that follows after so many more, a bit changes on its way.
    pub fn flip_a_bit(&self, way: Way, after_bytes: u64) {
        for direction in [&self.shared.there, &self.shared.back] {
            if way.includes(direction.way) {
                *lock(&direction.flip_after) = Some(after_bytes);
            }
        }
    }

    /// Whether the bit that was to change has changed.
    pub fn has_flipped(&self) -> bool {
        [&self.shared.there, &self.shared.back].iter().all(|direction| lock(&direction.flip_after).is_none())
    }

    /// How many bytes have passed in this direction.
    pub fn passed(&self, way: Way) -> u64 {
        let directions = [&self.shared.there, &self.shared.back];
        let counted = directions.iter().filter(|direction| way.includes(direction.way));
        counted.map(|direction| direction.passed.load(Ordering::Relaxed)).sum()
    }

    /// When somebody connected, or tried to while it was cut.
    pub fn attempts(&self) -> Vec<Instant> {
        lock(&self.shared.attempts).clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // also where waiting is not allowed
        }
    }
}

impl Direction {
    fn new(way: Way) -> Self {
        Self { way, passed: AtomicU64::new(0), flip_after: Mutex::new(None), busy_until: Mutex::new(None) }
    }

    /// Changes a bit where it is time to.
    fn spoil(&self, piece: &mut [u8]) {
        let mut flip_after = lock(&self.flip_after);
        match *flip_after {
            Some(after) if after < piece.len() as u64 => {
                piece[after as usize] ^= 0x10;
                *flip_after = None;
            }
            Some(after) => *flip_after = Some(after - piece.len() as u64),
            None => {}
        }
    }

    /// When so many bytes have passed that are to pass next.
    fn book(&self, bytes: usize, bytes_per_second: u64) -> Instant {
        let mut busy_until = lock(&self.busy_until);
        let begin = busy_until.map_or_else(Instant::now, |until| until.max(Instant::now()));
        let end = begin + Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
        *busy_until = Some(end);
        end
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("within a runtime");
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        lock(&shared.attempts).push(Instant::now());
        tokio::spawn(carry(near, shared.clone()));
    }
}

async fn pass_datagrams(socket: std::net::UdpSocket, shared: Arc<Shared>) {
    let socket = UdpSocket::from_std(socket).expect("within a runtime");
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok(length) = socket.recv(&mut datagram).await else { continue };
        let weather = *shared.weather.borrow();
        if !weather.cut && !stalls(&weather, Way::There) {
            // What cannot be sent is lost, as on the network.
            let _ = socket.send_to(&datagram[..length], shared.target).await;
        }
    }
}

/// Carries one connection, until it ends or is cut.
async fn carry(near: TcpStream, shared: Arc<Shared>) {
    let _ = near.set_zero_linger(); // reset, when it is dropped before its end was passed on
    let mut weather = shared.weather.subscribe();
    let connected = tokio::select! {
        connected = connect(&shared) => connected,
        _ = weather.wait_for(|weather| weather.cut) => return,
    };
    let Ok(far) = connected else { return };
    let _ = far.set_zero_linger();
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    tokio::select! {
        ((), ()) = async {
            tokio::join!(
                pump(near_reader, far_writer, &shared, &shared.there),
                pump(far_reader, near_writer, &shared, &shared.back),
            )
        } => {}
        _ = weather.wait_for(|weather| weather.cut) => {}
    }
}

async fn connect(shared: &Shared) -> std::io::Result<TcpStream> {
    // Where nothing passes there, the other side hears nothing of a connection either.
    let mut weather = shared.weather.subscribe();
    let _ = weather.wait_for(|weather| !stalls(weather, Way::There)).await;
    let far = TcpStream::connect(shared.target).await?;
    far.set_nodelay(true)?;
    Ok(far)
}

fn stalls(weather: &Weather, way: Way) -> bool {
    weather.stalled.is_some_and(|stalled| stalled.includes(way))
}

/// Passes one direction of a connection on, and its end.
async fn pump(reader: OwnedReadHalf, writer: OwnedWriteHalf, shared: &Shared, direction: &Direction) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::join!(take(reader, sender), give(writer, receiver, shared, direction));
}

async fn take(mut reader: OwnedReadHalf, sender: mpsc::Sender<(Instant, Vec<u8>)>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let Ok(count @ 1..) = reader.read(&mut piece).await else { return };
        piece.truncate(count);
        if sender.send((Instant::now(), piece)).await.is_err() {
            return;
        }
    }
}

async fn give(
    mut writer: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    shared: &Shared,
    direction: &Direction,
) {
    let mut weather = shared.weather.subscribe();
    while let Some((came, mut piece)) = receiver.recv().await {
        let Weather { delay, bytes_per_second, .. } = *weather.borrow();
        sleep_until((came + delay).into()).await;
        if let Some(bytes_per_second) = bytes_per_second {
            sleep_until(direction.book(piece.len(), bytes_per_second).into()).await;
        }
        let _ = weather.wait_for(|weather| !stalls(weather, direction.way)).await;
        direction.spoil(&mut piece);
        if writer.write_all(&piece).await.is_err() {
            return;
        }
        direction.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    let _ = weather.wait_for(|weather| !stalls(weather, direction.way)).await;
    let _ = writer.shutdown().await;
}

#[cfg(test)]
#[path = "link_test.rs"]
mod tests;
