use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_tun::Tun;

use crate::namespace::enter;

/// The longest frame that a cable carries, in bytes: more than an Ethernet frame of 1500 bytes of payload.
const FRAME_BYTES: usize = 2048;
/// What does not fit through is kept for so long, as in a router, and then dropped.
const QUEUE: Duration = Duration::from_millis(200);
/// So many frames are on their way at one time; further ones are dropped.
const FRAMES_MAX: usize = 16_384;

/// How far a host is from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distance {
    /// So much later everything arrives, in each direction.
    pub delay: Duration,
    /// No more than so many bytes a second pass, in each direction; `None`: any number.
    pub bytes_per_second: Option<u64>,
}

/// A cable between two network namespaces through which everything goes by way of this process, which keeps it for a while.
/// Both ends are gone when it is dropped.
#[derive(Debug)]
pub(super) struct Cable {
    runtime: Option<Runtime>,
}

impl Cable {
    /// Makes a new network interface of each of these namespaces and names, and a cable between the two.
    pub(super) fn between(ends: [(&str, &str); 2], distance: Distance) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let [near, far] = ends.map(|(namespace, name)| interface(namespace, name, runtime.handle().clone()));
        let (near, far) = (Arc::new(near?), Arc::new(far?));
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (sender, receiver) = mpsc::channel(FRAMES_MAX);
            runtime.spawn(take(Arc::clone(from), sender, Line::new(distance)));
            runtime.spawn(give(Arc::clone(to), receiver));
        }
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // also where waiting is not allowed
        }
    }
}

/// A network interface (TAP) in a namespace.
fn interface(namespace: &str, name: &str, runtime: Handle) -> Result<Tun> {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    // In a thread of its own, which stays where it has gone.
    let made = std::thread::spawn(move || {
        enter(&namespace)?;
        let _within = runtime.enter();
        let mut made = Tun::builder().name(&name).tap().close_on_exec().build()?;
        made.pop().context("no interface was made")
    });
    made.join().map_err(|_| anyhow!("it panicked"))?.context("a far host needs /dev/net/tun")
}

/// When what is sent arrives.
#[derive(Debug)]
struct Line {
    distance: Distance,
    /// Until then the bandwidth is used up.
    busy_until: Option<Instant>,
}

impl Line {
    fn new(distance: Distance) -> Self {
        Self { distance, busy_until: None }
    }

    /// When so many bytes that are sent now arrive; `None`: they are dropped.
    fn arrival(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Distance { delay, bytes_per_second } = self.distance;
        let Some(bytes_per_second) = bytes_per_second else { return Some(now + delay) };
        let begin = self.busy_until.map_or(now, |until| until.max(now));
        if begin - now > QUEUE {
            return None;
        }
        let end = begin + Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
        self.busy_until = Some(end);
        Some(end + delay)
    }
}

async fn take(from: Arc<Tun>, sender: mpsc::Sender<(Instant, Vec<u8>)>, mut line: Line) {
    let mut frame = vec![0; FRAME_BYTES];
    // An interface that is down gives errors, and is up some time.
    while !sender.is_closed() {
        match from.recv(&mut frame).await {
            Ok(length) => {
                if let Some(arrival) = line.arrival(Instant::now(), length) {
                    let _ = sender.try_send((arrival, frame[..length].to_vec()));
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn give(to: Arc<Tun>, mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((arrival, frame)) = receiver.recv().await {
        sleep_until(arrival.into()).await;
        let _ = to.send(&frame).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_sent_arrives_after_the_delay_and_not_faster_than_the_bandwidth() {
        let mut line = Line::new(Distance { delay: 20 * MS, bytes_per_second: Some(1_000_000) });
        let now = Instant::now();
        assert_eq!(line.arrival(now, 1_000), Some(now + 21 * MS));
        assert_eq!(line.arrival(now, 1_000), Some(now + 22 * MS));
        assert_eq!(line.arrival(now + 10 * MS, 1_000), Some(now + 31 * MS), "the line was free again");
        let mut unlimited = Line::new(Distance { delay: 20 * MS, bytes_per_second: None });
        assert_eq!(unlimited.arrival(now, 1 << 30), Some(now + 20 * MS));
    }

    #[test]
    fn what_would_wait_too_long_is_dropped_until_there_is_room_again() {
        let mut line = Line::new(Distance { delay: Duration::ZERO, bytes_per_second: Some(1_000_000) });
        let now = Instant::now();
        let arrived = (0..1_000).filter(|_| line.arrival(now, 1_000).is_some()).count();
        assert_eq!(arrived, 201, "as many as are sent in 200 ms, and the one under way");
        assert_eq!(line.arrival(now + 100 * MS, 1_000), Some(now + 202 * MS));
    }
}
