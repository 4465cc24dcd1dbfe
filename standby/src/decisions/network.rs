//! What voters say to each other, as JSON, and `openraft`'s view of it.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Raft};
use serde::{Deserialize, Serialize};

use super::charter::Charter;
use super::line::{Line, Lines};
use super::types::Types;
use crate::failover::decided::Effect;
use crate::failover::entry::NodeId;
use crate::failover::history::Stamped;
use crate::failover::order::Order;

/// What one voter asks another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    Append(AppendEntriesRequest<Types>),
    Snapshot(InstallSnapshotRequest<Types>),
    Vote(VoteRequest<NodeId>),
    /// To the leader: have this decided.
    Propose(Stamped),
    /// How far are you?
    Standing,
    /// To the leader: let this node in.
    Admit(Admission),
    /// To the leader: nobody counts on this node's vote any more.
    Dismiss(NodeId),
    /// Do this.
    Order(Order),
    /// The log was begun anew: join it at this address.
    Hear(String),
}

/// A question, from a node that takes part in this log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Letter<Q> {
    pub(super) charter: Option<Charter>,
    pub(super) from: NodeId,
    /// Whom it is for; `None`: whoever is there. Another node may have come to an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<NodeId>,
    pub(super) question: Q,
}

/// A node that wants to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The node.
    pub node: NodeId,
    /// Where its peer listener is, HOST:PORT.
    pub address: String,
    /// It votes; else it only hears what is decided.
    pub votes: bool,
}

/// The outcome of a proposal at the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Proposed {
    /// It was decided, and did this.
    Decided(Effect),
    /// Another node leads, if one does.
    Elsewhere(Option<(NodeId, String)>),
    /// It cannot be.
    Failed(String),
}

/// Makes lines to voters.
pub(super) struct Network {
    pub(super) lines: Lines,
}

/// A line to one voter.
pub(super) struct Peer {
    node: NodeId,
    line: Line,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, node: NodeId, at: &BasicNode) -> Peer {
        Peer { node, line: self.lines.to(&at.addr) }
    }
}

type Failure<E> = RPCError<NodeId, BasicNode, RaftError<NodeId, E>>;

impl Peer {
    async fn ask<T, E>(&self, question: Question, limit: Duration) -> Result<T, Failure<E>>
    where
        T: serde::de::DeserializeOwned,
        E: std::error::Error + serde::de::DeserializeOwned + 'static,
    {
        let answer: Result<Result<T, RaftError<NodeId, E>>, _> =
            self.line.ask_node(self.node, &question, limit).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.node, error))),
            Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
        }
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure<openraft::error::Infallible>> {
        self.ask(Question::Append(request), option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, Failure<InstallSnapshotError>> {
        self.ask(Question::Snapshot(request), option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure<openraft::error::Infallible>> {
        self.ask(Question::Vote(request), option.hard_ttl()).await
    }
}

/// Answers one of `openraft`'s own questions.
pub(super) async fn answer(raft: &Raft<Types>, question: Question) -> Option<serde_json::Result<Vec<u8>>> {
    Some(match question {
        Question::Append(request) => serde_json::to_vec(&raft.append_entries(request).await),
        Question::Snapshot(request) => serde_json::to_vec(&raft.install_snapshot(request).await),
        Question::Vote(request) => serde_json::to_vec(&raft.vote(request).await),
        Question::Propose(_)
        | Question::Standing
        | Question::Admit(_)
        | Question::Dismiss(_)
        | Question::Order(_)
        | Question::Hear(_) => return None,
    })
}
