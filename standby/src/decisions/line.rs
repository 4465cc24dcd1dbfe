//! Requests to another voter, on a connection that is made when it is needed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};

use super::charter::Charter;
use super::network::Letter;
use crate::failover::entry::NodeId;
use crate::peer::{CallError, Channel, ChannelOptions, Connection, Identity, dial};
use crate::world;

/// The channel on which voters speak.
pub const CHANNEL: &str = "decisions";
/// A snapshot comes in pieces; entries are small.
pub const CHANNEL_OPTIONS: ChannelOptions =
    ChannelOptions { window_bytes: 1 << 20, message_bytes_max: 16 << 20 };

/// After so many requests that were not answered in time, a connection is given up: it may be one of before the other was cut off, on
/// which nothing passes for a while yet. A busy node, which is late once, keeps its own.
const LATE_MAX: u32 = 3;

/// A line to one voter. Clones are the same.
#[derive(Clone)]
pub(super) struct Line(Arc<Shared>);

struct Shared {
    identity: Arc<Identity>,
    from: NodeId,
    charter: watch::Receiver<Option<Charter>>,
    address: String,
    open: Arc<Mutex<Option<Open>>>,
}

#[derive(Clone)]
struct Open {
    /// Held: the channel ends with it.
    _connection: Connection,
    channel: Arc<Channel>,
    /// Requests since the last answer that were not answered in time.
    late: Arc<AtomicU32>,
}

/// A request was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct NoAnswer {
    address: String,
    reason: String,
}

/// The lines of a node, one to each address; given up in this order. Clones are the same.
#[derive(Clone)]
pub(super) struct Lines {
    identity: Arc<Identity>,
    from: NodeId,
    charter: watch::Receiver<Option<Charter>>,
    lines: Arc<std::sync::Mutex<BTreeMap<String, Line>>>,
}

impl Lines {
    pub(super) fn new(
        identity: Arc<Identity>,
        from: NodeId,
        charter: watch::Receiver<Option<Charter>>,
    ) -> Self {
        Self { identity, from, charter, lines: Arc::default() }
    }

    pub(super) fn to(&self, address: &str) -> Line {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(address.to_owned());
        line.or_insert_with(|| Line::new(self, address)).clone()
    }
}

impl Line {
    fn new(Lines { identity, from, charter, .. }: &Lines, address: &str) -> Self {
        Self(Arc::new(Shared {
            identity: identity.clone(),
            from: *from,
            charter: charter.clone(),
            address: address.to_owned(),
            open: Arc::default(),
        }))
    }

    /// Asks whoever is there, and waits for the answer within the limit. It may have been heard and the answer be lost.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, NoAnswer> {
        self.send(None, request, limit).await
    }

    /// The same, where only this node may answer.
    pub(super) async fn ask_node<T: DeserializeOwned>(
        &self,
        to: NodeId,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, NoAnswer> {
        self.send(Some(to), request, limit).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        to: Option<NodeId>,
        question: &impl Serialize,
        limit: Duration,
    ) -> Result<T, NoAnswer> {
        let letter = Letter { charter: *self.0.charter.borrow(), from: self.0.from, to, question };
        let request = serde_json::to_vec(&letter).expect("requests can be written as JSON");
        let answer = self.answer(request, limit).await;
        let answer =
            answer.and_then(|answer| serde_json::from_slice(&answer).map_err(|error| error.to_string()));
        answer.map_err(|reason| NoAnswer { address: self.0.address.clone(), reason })
    }

    async fn answer(&self, request: Vec<u8>, limit: Duration) -> Result<Bytes, String> {
        let began = world::runtime_now();
        let open = tokio::time::timeout(limit, self.open()).await;
        let open = open.unwrap_or_else(|_| Err("it cannot be reached in time".to_owned()))?;
        let left = limit.saturating_sub(world::runtime_now() - began);
        let answer = open.channel.call(Bytes::from(request), left).await;
        let is_over = match &answer {
            Ok(_) | Err(CallError::Failed(_)) => {
                open.late.store(0, Ordering::Relaxed);
                false
            }
            Err(CallError::Late(_)) => open.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_MAX,
            Err(_) => true,
        };
        if is_over {
            let mut kept = self.0.open.lock().await;
            if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.channel, &open.channel)) {
                *kept = None; // the next one begins afresh
            }
        }
        answer.map_err(|error| error.to_string())
    }

    async fn open(&self) -> Result<Open, String> {
        let mut kept = Arc::clone(&self.0.open).lock_owned().await;
        if let Some(open) = &*kept {
            return Ok(open.clone());
        }
        let line = Arc::clone(&self.0);
        // A task of its own: a connection may take longer than this request waits, and is open for a later one then.
        let opening = tokio::spawn(async move {
            let open = line.dial().await.map_err(|error| error.to_string())?;
            *kept = Some(open.clone());
            Ok(open)
        });
        opening.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Shared {
    async fn dial(&self) -> anyhow::Result<Open> {
        let connection = dial(&self.address, &self.identity).await?;
        let channel = connection.open(CHANNEL, CHANNEL_OPTIONS).await?;
        Ok(Open { _connection: connection, channel: Arc::new(channel), late: Arc::default() })
    }
}
