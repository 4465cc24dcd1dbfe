//! Busy polling: looking at a socket again and again for a moment, instead of sleeping until it is readable.
//!
//! To be woken costs a thread 5 to 60 µs (most on a virtual processor, which goes back to its host when it is idle), and
//! a lone client pays that for every answer that it waits for. So while one client alone keeps the server busy, and
//! its next request mostly comes at once, its connection stays awake for it. It gives way to whatever else wants the
//! processor, and stops as soon as another client asks for something.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;

use crate::world;
use crate::world::net::TcpStream;

/// How long to stay awake for the next request.
pub const PATIENCE: Duration = Duration::from_micros(500);
/// Requests in a row that nobody else's came between, until a client counts as alone.
const ALONE_AFTER: u32 = 8;
/// Of the last 32 waits, so many must have been shorter than [`PATIENCE`].
const QUICK_ENOUGH: u32 = 24;

/// Which connection received something last: shared by all connections of a server.
#[derive(Debug, Default)]
pub struct LastActive {
    connection: AtomicU64,
    connections: AtomicU64,
}

/// Whether busy polling pays for a connection, by what its client did lately.
#[derive(Debug)]
pub struct Habit {
    active: Arc<LastActive>,
    /// A number of this connection's own, not 0.
    connection: u64,
    /// So many requests in a row, and nobody else's between.
    alone: u32,
    /// A bit for each of the last waits: it was short.
    quick: u32,
}

impl Habit {
    /// Of a new connection, which has to earn patience first.
    pub fn new(active: Arc<LastActive>) -> Self {
        let connection = active.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Self { active, connection, alone: 0, quick: 0 }
    }

    /// Requests came, after such a wait.
    pub fn received(&mut self, after: Duration) {
        // Looking first spares the processors' caches where one client is alone.
        let alone = self.was_last() || {
            self.active.connection.store(self.connection, Ordering::Relaxed);
            false
        };
        self.alone = if alone { self.alone.saturating_add(1) } else { 0 };
        self.quick = self.quick << 1 | u32::from(after < PATIENCE);
    }

    /// Nobody else's requests came after this connection's.
    pub fn was_last(&self) -> bool {
        self.active.connection.load(Ordering::Relaxed) == self.connection
    }

    /// It is likely that the next request comes within [`PATIENCE`], and nobody else asks for anything.
    pub fn pays(&self) -> bool {
        self.alone >= ALONE_AFTER && self.quick.count_ones() >= QUICK_ENOUGH && self.was_last()
    }
}

/// A stream that can be looked at without the runtime.
pub trait ReceiveNow {
    /// It can.
    const POSSIBLE: bool;

    /// Receives what is there, without waiting.
    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReceiveNow for TcpStream {
    const POSSIBLE: bool = world::RECEIVES_NOW;

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        world::receive_now(self, buffer)
    }
}

impl ReceiveNow for UnixStream {
    const POSSIBLE: bool = world::RECEIVES_NOW;

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        world::receive_now(self, buffer)
    }
}

/// Its bytes are not yet the client's.
impl<S> ReceiveNow for TlsStream<S> {
    const POSSIBLE: bool = false;

    fn receive_now(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(50);
    const LATE: Duration = Duration::from_millis(5);

    fn after(waits: impl IntoIterator<Item = Duration>, active: &Arc<LastActive>) -> Habit {
        let mut habit = Habit::new(Arc::clone(active));
        waits.into_iter().for_each(|wait| habit.received(wait));
        habit
    }

    #[test]
    fn a_lone_client_in_a_hurry_is_waited_for() {
        let active = Arc::default();
        assert!(!after([SOON; 23], &active).pays());
        assert!(after([SOON; 24], &active).pays());
        assert!(!after([LATE; 100], &active).pays());
    }

    #[test]
    fn a_client_that_begins_to_think_is_no_longer_waited_for() {
        let mut habit = after([SOON; 100], &Arc::default());
        for _ in 0..9 {
            assert!(habit.pays());
            habit.received(LATE);
        }
        assert!(!habit.pays());
    }

    #[test]
    fn one_of_several_clients_is_not_waited_for() {
        let active = Arc::default();
        let mut one = after([SOON; 100], &active);
        let mut other = after([SOON; 1], &active);
        assert!(!one.pays(), "the other was the last");
        for _ in 0..100 {
            one.received(SOON);
            other.received(SOON);
        }
        assert!(!one.pays() && !other.pays());
    }
}
