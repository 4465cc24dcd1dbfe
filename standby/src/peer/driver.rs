//! The tasks between a transport and the machine: one reads and opens, one seals and writes, one watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::connection::Connection;
use super::error::Disconnected;
use super::frame::{PROTECTION_BYTES_MAX, RECORD_FRAMES_BYTES_MAX};
use super::handshake::Established;
use super::identity::Identity;
use super::limits::PeerLimits;
use super::mux::{Mux, Side};
use super::seal::{Opener, Sealer};
use super::shared::Shared;
use super::transport::{RECORD_BYTES_MAX, RecordSink, RecordSource};
use crate::quiet::Quiet;
use crate::world;

/// How long the other half of a connection may take to say its last, once one has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts the tasks of a connection whose handshake is done.
pub fn start<O: RecordSink, I: RecordSource>(
    side: Side,
    Identity { limits, quiet, .. }: &Identity,
    (sink, source): (O, I),
    established: Established,
    address: String,
) -> Connection {
    let Established { sealer, opener, remote, version } = established;
    let mux = Mux::new(side, limits.clone(), world::runtime_now());
    let shared = Arc::new(Shared::new(mux, remote, address, version));
    let quiet = quiet.clone();
    tokio::spawn(watch(shared.clone(), limits.clone(), quiet, (sink, sealer), (source, opener)));
    Connection::new(shared)
}

/// Runs both directions until one of them ends, and lets the other have its last words.
async fn watch<O: RecordSink, I: RecordSource>(
    shared: Arc<Shared>,
    limits: PeerLimits,
    quiet: Quiet,
    (sink, sealer): (O, Sealer),
    (source, opener): (I, Opener),
) {
    let mut writer = tokio::spawn(write(shared.clone(), sink, sealer, limits.idle, quiet.clone()));
    let mut reader = tokio::spawn(read(shared.clone(), source, opener, quiet));
    tokio::select! {
        end = &mut reader => {
            let end = end.unwrap_or_else(|error| Disconnected::Lost(error.to_string()));
            shared.with(|state| state.mux.close_now(&match &end {
                Disconnected::Broke(error) => error.to_string(),
                _ => "goodbye".to_owned(),
            }));
            finish(&shared, end);
            let _ = timeout(LAST_WORDS, &mut writer).await;
        }
        end = &mut writer => {
            match end.unwrap_or_else(|error| Some(Disconnected::Lost(error.to_string()))) {
                // We closed. To stop reading now would make the network drop what the peer has not yet received.
                None => {
                    finish(&shared, Disconnected::Closed(shared.with(|state| state.close_reason.clone())));
                    let _ = timeout(limits.linger, &mut reader).await;
                }
                // The peer's reason to hang up tells more than that writing failed.
                Some(lost) => {
                    let end = timeout(LAST_WORDS, &mut reader).await;
                    finish(&shared, end.ok().and_then(Result::ok).unwrap_or(lost));
                }
            }
        }
        end = keep(&shared, &limits) => finish(&shared, end),
    }
    reader.abort();
    writer.abort();
}

/// Tells all who use the connection that it is over, and the log.
fn finish(shared: &Shared, end: Disconnected) {
    let (node, address) = (&shared.remote.node, &shared.address);
    match &end {
        Disconnected::Closed(_) => debug!(%node, %address, reason = %end, "peer connection ended"),
        Disconnected::Left(_) | Disconnected::Lost(_) | Disconnected::Silent(_) => {
            info!(%node, %address, reason = %end, "peer connection ended");
        }
        Disconnected::Broke(_) | Disconnected::Tampered(_) => {
            warn!(%node, %address, reason = %end, "peer connection ended");
        }
    }
    shared.end(end);
}

/// Reads until the end.
async fn read<I: RecordSource>(
    shared: Arc<Shared>,
    mut source: I,
    mut opener: Opener,
    quiet: Quiet,
) -> Disconnected {
    let mut plain = vec![0; RECORD_BYTES_MAX]; // stays in the cache; messages are copied out of it
    loop {
        let sealed = match source.next(RECORD_BYTES_MAX).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Disconnected::Lost("the peer hung up".to_owned()),
            Err(error) => return Disconnected::Lost(error.to_string()),
        };
        quiet.over().await;
        let record = match opener.open(sealed, &mut plain) {
            Ok(bytes) => &plain[..bytes],
            Err(error) => return error.into(),
        };
        match shared.receive(record) {
            Ok(None) => {}
            Ok(Some(reason)) => return Disconnected::Left(reason),
            Err(error) => return Disconnected::Broke(error),
        }
    }
}

/// Writes until the goodbye is said (none), or until it fails.
async fn write<O: RecordSink>(
    shared: Arc<Shared>,
    mut sink: O,
    mut sealer: Sealer,
    idle: Duration,
    quiet: Quiet,
) -> Option<Disconnected> {
    let mut pieces = Vec::new();
    let mut record = Vec::with_capacity(RECORD_FRAMES_BYTES_MAX);
    loop {
        quiet.over().await;
        let mut wrote = false;
        while sink.has_room() && shared.next_record(&mut pieces) {
            record.clear();
            for piece in pieces.drain(..) {
                piece.write(&mut record);
            }
            sink.push(record.len() + PROTECTION_BYTES_MAX, |out| sealer.seal(&record, out));
            wrote = true;
        }
        if wrote {
            match timeout(idle, sink.flush()).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => return Some(Disconnected::Lost(error.to_string())),
                Err(_) => return Some(Disconnected::Lost(format!("the peer took nothing for {idle:?}"))),
            }
        }
        if shared.with(|state| state.mux.has_said_goodbye()) {
            let _ = timeout(idle, sink.finish()).await; // all is said
            return None;
        }
        shared.transmit.notified().await;
    }
}

/// Tells the machine the time, and sees to it that closing comes to an end.
async fn keep(shared: &Shared, limits: &PeerLimits) -> Disconnected {
    let mut close_by: Option<Instant> = None;
    let mut pressed = false;
    loop {
        let tick = shared.with(|state| match state.mux.tick(world::runtime_now()) {
            Ok(()) => Ok(state.mux.next_tick()),
            Err(silent) => Err(Disconnected::Silent(silent.0)),
        });
        let next_tick = match tick {
            Ok(at) => Instant::from(at),
            Err(silent) => return silent,
        };
        let closing: &Notify = &shared.closing;
        tokio::select! {
            () = sleep_until(next_tick) => {}
            () = closing.notified() => close_by = close_by.or(Some(Instant::now() + limits.linger)),
            () = sleep_until(close_by.unwrap_or(next_tick)), if close_by.is_some() => {
                if pressed {
                    return Disconnected::Closed(shared.with(|state| state.close_reason.clone()));
                }
                pressed = true;
                close_by = Some(Instant::now() + LAST_WORDS);
                shared.with(|state| state.mux.close_now(&state.close_reason));
            }
        }
    }
}
