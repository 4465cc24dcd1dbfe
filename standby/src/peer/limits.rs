//! The bounds of a peer connection.

use std::time::Duration;

/// The smallest window that either side may offer, in bytes. (Below it, credit would come in crumbs.)
pub const WINDOW_BYTES_MIN: u32 = 4096;

/// Bounds of a connection. What a peer can make this side hold is at most `channels_max` times a channel's window and
/// its largest message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerLimits {
    /// Channels at one time, those that await an answer included.
    pub channels_max: usize,
    /// Bytes queued on a channel beyond which its sender waits.
    pub send_queue_bytes: usize,
    /// How long connecting and the handshake may take, each.
    pub handshake: Duration,
    /// Handshakes under way at one time at a listener.
    pub handshakes_max: usize,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// A peer of which nothing is received for so long, or that does not take one batch of what is sent (256 KiB over TCP),
    /// is gone.
    pub idle: Duration,
    /// How long a closing connection may take to send what is queued.
    pub linger: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            channels_max: 256,
            send_queue_bytes: 1 << 20,
            handshake: Duration::from_secs(10),
            handshakes_max: 64,
            ping_interval: Duration::from_secs(3),
            idle: Duration::from_secs(15),
            linger: Duration::from_secs(5),
        }
    }
}

/// What one side of a channel is willing to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelOptions {
    /// Bytes that may be on their way or unread, at least [`WINDOW_BYTES_MIN`]. It bounds the speed over a long
    /// distance: window / round-trip time.
    pub window_bytes: u32,
    /// The largest message, in bytes.
    pub message_bytes_max: u32,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self { window_bytes: 4 << 20, message_bytes_max: 16 << 20 }
    }
}

impl ChannelOptions {
    /// The window, in bytes, which is never below [`WINDOW_BYTES_MIN`].
    pub fn window(&self) -> u32 {
        self.window_bytes.max(WINDOW_BYTES_MIN)
    }

    /// For short requests and answers: a window of 256 KiB, messages of up to 1 MiB.
    pub fn small() -> Self {
        Self { window_bytes: 256 << 10, message_bytes_max: 1 << 20 }
    }
}
