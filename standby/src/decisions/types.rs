//! What the log is made of.

use std::io::Cursor;

use crate::failover::decided::Effect;
use crate::failover::entry::NodeId;
use crate::failover::history::Stamped;

openraft::declare_raft_types!(
    /// The types that `openraft` works with.
    pub Types:
        D = Stamped,
        R = Effect,
        NodeId = NodeId,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = crate::world::RaftRuntime,
);

pub(super) type LogId = openraft::LogId<NodeId>;
pub(super) type LogEntry = openraft::Entry<Types>;
pub(super) type StorageError = openraft::StorageError<NodeId>;
pub(super) type IoError = openraft::StorageIOError<NodeId>;
pub(super) type Membership = openraft::StoredMembership<NodeId, openraft::BasicNode>;
