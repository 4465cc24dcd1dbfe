//! Answers that are as long as a file: sent as they are read, a piece at a time.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::Channel;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;

use super::refusal::Refusal;
use crate::world::spawn_blocking;

/// How much is read at once, in bytes.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// So many pieces may wait for one operator.
const WAITING_MAX: usize = 2;
/// So many of these answers are given at one time.
const ANSWERS_MAX: usize = 4;
/// How long an operator may take for a piece.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read piece by piece. May wait for the disk.
pub(super) trait Pieces: Send + 'static {
    /// The next one; `None`: that was all.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>>;
}

/// Answers with what `open` opens. If that cannot be read to its end, neither does the answer come to an end.
pub(super) async fn answer<P: Pieces>(
    content_type: &'static str,
    open: impl FnOnce() -> io::Result<P> + Send + 'static,
) -> Result<Response, Refusal> {
    static ANSWERS: Semaphore = Semaphore::const_new(ANSWERS_MAX);
    let Ok(permit) = ANSWERS.try_acquire() else {
        let reason = format!("{ANSWERS_MAX} operators read such files already: try again later");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason));
    };
    let opened = spawn_blocking(open).await.expect("no panic");
    let pieces = opened.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let (sender, body) = Channel::new(WAITING_MAX);
    tokio::spawn(send(pieces, sender, permit));
    let content_type = HeaderValue::from_static(content_type);
    Ok(([(header::CONTENT_TYPE, content_type)], Body::new(body)).into_response())
}

async fn send<P: Pieces>(
    mut pieces: P,
    mut sender: http_body_util::channel::Sender<Bytes, io::Error>,
    _permit: SemaphorePermit<'static>,
) {
    loop {
        let (read, rest) = spawn_blocking(move || (pieces.next(), pieces)).await.expect("no panic");
        pieces = rest;
        let piece = match read {
            Ok(Some(piece)) => Bytes::from(piece),
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "what an operator reads cannot be read to its end");
                return sender.abort(error);
            }
        };
        match tokio::time::timeout(PATIENCE, sender.send_data(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return, // nobody reads any more
            Err(_) => return sender.abort(io::ErrorKind::TimedOut.into()),
        }
    }
}
