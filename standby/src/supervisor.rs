//! What whoever started the process is told: a line on standard output, and systemd's notifications where it listens for them
//! ([sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)).

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::sync::watch;
use tracing::debug;

use crate::node::Part;
use crate::world;

/// Clients may connect now: the one line on standard output. `where_to` are pairs `LISTENER=ADDRESS`.
pub fn ready(where_to: &[String]) -> Result<()> {
    world::say(&format!("ready {}", where_to.join(" "))).context("standard output is closed")?;
    notify(&[NotifyState::Ready]);
    Ok(())
}

/// It ends, and may take a moment for that.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Says at every change what the node is, as `systemctl status` shows it.
pub async fn keep_telling(mut part: watch::Receiver<Part>) {
    loop {
        let now = *part.borrow_and_update();
        notify(&[NotifyState::Status(described(now))]);
        if part.changed().await.is_err() {
            return;
        }
    }
}

fn described(part: Part) -> &'static str {
    match part {
        Part::Undecided => "waiting to hear who is the primary",
        Part::Replica => "replica: follows another node",
        Part::Primary => "primary: takes commits",
        Part::Witness => "witness: votes, and has no data",
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}
