//! Who follows a copy, and how far each of them is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use zeo_proto::Tid;

use crate::service::Service;
use crate::world;

/// A node at the other end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// Its group.
    pub group: String,
    /// What it has durably counts where acknowledgements are asked for.
    pub acknowledges: bool,
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Transactions flow.
    pub flowing: bool,
    /// Everything up to here was sent to it.
    pub sent: Tid,
    /// Everything up to here is durable at it.
    pub durable: Tid,
}

/// A follower, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Who it is.
    pub peer: Peer,
    /// Since when.
    pub since: SystemTime,
    /// How far it is.
    pub reached: Reached,
}

/// The followers of a copy. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Followers(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    streams: u64,
    present: BTreeMap<u64, Follower>,
}

/// A follower's place among the followers, until this is dropped.
pub struct Place {
    followers: Followers,
    service: Service,
    stream: u64,
    peer: Peer,
    reached: Reached,
}

impl Followers {
    /// Those that are there.
    pub fn list(&self) -> Vec<Follower> {
        self.inner().present.values().cloned().collect()
    }

    /// Acknowledges what those that are there have by now.
    pub fn acknowledge_all(&self, service: &Service) {
        let inner = self.inner();
        for (stream, Follower { peer, reached, .. }) in &inner.present {
            if peer.acknowledges && reached.flowing {
                service.acknowledged(&peer.node, *stream, reached.durable);
            }
        }
    }

    /// Someone begins to follow what this service serves.
    pub fn join(&self, service: Service, peer: Peer) -> Place {
        let reached = Reached::default();
        let mut inner = self.inner();
        inner.streams += 1;
        let stream = inner.streams;
        inner.present.insert(stream, Follower { peer: peer.clone(), since: world::now(), reached });
        Place { followers: self.clone(), service, stream, peer, reached }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Clients wait until it has what they have committed.
    pub fn is_waited_for(&self) -> bool {
        self.peer.acknowledges && self.service.acknowledgements().is_some_and(|acks| acks.needed > 0)
    }

    /// Notes how far it is, and tells whoever waits for its acknowledgement.
    pub fn note(&mut self, reached: Reached) {
        let before = std::mem::replace(&mut self.reached, reached);
        if before == reached {
            return;
        }
        if let Some(follower) = self.followers.inner().present.get_mut(&self.stream) {
            follower.reached = reached;
        }
        let news = reached.flowing && (!before.flowing || before.durable != reached.durable);
        if self.peer.acknowledges && news {
            self.service.acknowledged(&self.peer.node, self.stream, reached.durable);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followers.inner().present.remove(&self.stream);
        if self.peer.acknowledges {
            self.service.acknowledges_no_more(&self.peer.node, self.stream);
        }
    }
}
