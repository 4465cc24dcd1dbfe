//! A node that is to be silent on the network for a while, for drills: it neither hears nor says anything, and comes back by
//! itself. Its control API goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::failover::lease::since_boot;

/// Whether a node is silent. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Quiet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Until then, in nanoseconds since the machine was started; 0: it is not silent.
    until: AtomicU64,
    changed: Notify,
}

impl Quiet {
    /// Silent from now on for so long.
    pub fn begin(&self, length: Duration) {
        self.0.until.store((since_boot() + length).as_nanos() as u64, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    /// Silent no more.
    pub fn end(&self) {
        self.0.until.store(0, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    /// For how long yet; `None`: it is not silent.
    pub fn left(&self) -> Option<Duration> {
        let until = self.0.until.load(Ordering::Relaxed);
        if until == 0 {
            return None; // nearly always
        }
        Duration::from_nanos(until).checked_sub(since_boot()).filter(|left| !left.is_zero())
    }

    /// Waits until it is not.
    pub async fn over(&self) {
        while self.left().is_some() {
            let changed = self.0.changed.notified();
            let Some(left) = self.left() else { return };
            let _ = tokio::time::timeout(left, changed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn silence_ends_by_itself_or_when_it_is_ended() {
        let quiet = Quiet::default();
        quiet.over().await;
        quiet.begin(Duration::from_millis(30));
        assert!(quiet.clone().left().is_some());
        tokio::time::timeout(LONG, quiet.over()).await.expect("it ends");
        assert_eq!(quiet.left(), None);
        quiet.begin(LONG);
        let other = quiet.clone();
        let waiting = tokio::spawn(async move { other.over().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        quiet.end();
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("woken").expect("no panic");
    }
}
