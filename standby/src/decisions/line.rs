//! Requests to another voter, on a connection that is made when it is needed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};

use super::charter::Charter;
use super::network::Letter;
use crate::failover::entry::NodeId;
use crate::peer::{Channel, ChannelOptions, Connection, Identity, dial};

/// The channel on which voters speak.
pub const CHANNEL: &str = "decisions";
/// A snapshot comes in pieces; entries are small.
pub const CHANNEL_OPTIONS: ChannelOptions =
    ChannelOptions { window_bytes: 1 << 20, message_bytes_max: 16 << 20 };

/// A line to one voter. Clones are the same.
#[derive(Clone)]
pub(super) struct Line(Arc<Shared>);

struct Shared {
    identity: Arc<Identity>,
    from: NodeId,
    charter: watch::Receiver<Option<Charter>>,
    address: String,
    open: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    /// Held: the channel ends with it.
    _connection: Connection,
    channel: Arc<Channel>,
}

/// A request was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct NoAnswer {
    address: String,
    reason: String,
}

/// The lines of a node, one to each address. Clones are the same.
#[derive(Clone)]
pub(super) struct Lines {
    identity: Arc<Identity>,
    from: NodeId,
    charter: watch::Receiver<Option<Charter>>,
    lines: Arc<std::sync::Mutex<HashMap<String, Line>>>,
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
            open: Mutex::new(None),
        }))
    }

    /// Asks, and waits for the answer within the limit. It may have been heard and the answer be lost.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, NoAnswer> {
        let letter = Letter { charter: *self.0.charter.borrow(), from: self.0.from, question: request };
        let request = serde_json::to_vec(&letter).expect("requests can be written as JSON");
        let asked = async {
            let open = self.open().await?;
            let answer = open.channel.call(Bytes::from(request), limit).await;
            if answer.is_err() {
                *self.0.open.lock().await = None; // the next one begins afresh
            }
            answer.map_err(|error| error.to_string())
        };
        let answer =
            tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let answer =
            answer.and_then(|answer| serde_json::from_slice(&answer).map_err(|error| error.to_string()));
        answer.map_err(|reason| NoAnswer { address: self.0.address.clone(), reason })
    }

    async fn open(&self) -> Result<Open, String> {
        let mut kept = self.0.open.lock().await;
        if let Some(open) = &*kept {
            return Ok(open.clone());
        }
        let connection = dial(&self.0.address, &self.0.identity).await.map_err(|error| error.to_string())?;
        let channel = connection.open(CHANNEL, CHANNEL_OPTIONS).await.map_err(|error| error.to_string())?;
        let open = Open { _connection: connection, channel: Arc::new(channel) };
        *kept = Some(open.clone());
        Ok(open)
    }
}
