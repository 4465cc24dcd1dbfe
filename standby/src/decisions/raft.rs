//! One node's part in deciding.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, Config, Raft, SnapshotPolicy};
use tokio::sync::mpsc;
use tracing::debug;

use super::control::{Control, ControlError, Key};
use super::line::Lines;
use super::log::DecidedLog;
use super::network::{Admission, Network, Proposed, Question, answer};
use super::state::{DecidedState, News};
use super::types::Types;
use crate::failover::choice::Standing;
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Entry, NodeId};
use crate::peer::{Channel, Identity, Incoming, Request};

/// How fast a leader is missed, and how much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A leader is heard of so often.
    pub heartbeat: Duration,
    /// Without it, another is elected after this time, or up to twice as much.
    pub election: Duration,
    /// A snapshot is made every so many entries; as many are kept behind it.
    pub snapshot_every: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(300),
            snapshot_every: 5_000,
        }
    }
}

/// The decided log, as one node takes part in it. Clones are the same.
#[derive(Clone)]
pub struct Decisions {
    raft: Raft<Types>,
    me: NodeId,
    lines: Lines,
    standing: Arc<dyn Fn() -> Standing + Send + Sync>,
}

/// Why something was not decided, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// There is no leader now.
    #[error("no majority of the voters is reachable")]
    NoLeader,
    /// It may be decided yet.
    #[error("the leader does not answer: {0}")]
    Unknown(String),
    /// It never will.
    #[error("{0}")]
    Refused(String),
}

/// A node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it must remember.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Something else.
    #[error("{0}")]
    Raft(String),
}

/// A node that takes part.
pub struct Started {
    /// Its part.
    pub decisions: Decisions,
    /// What was decided, as far as it knew when it was stopped.
    pub decided: Decided,
    /// What is decided from then on.
    pub news: mpsc::UnboundedReceiver<News>,
}

impl Decisions {
    /// Takes part with what is in this file. A node without one is a new node. Others are told its `standing`.
    pub async fn start(
        path: &Path,
        identity: Arc<Identity>,
        pace: Pace,
        standing: impl Fn() -> Standing + Send + Sync + 'static,
    ) -> Result<Started, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let control = Control::open(path)?;
        let me = match control.get(Key::Node)? {
            Some(me) => me,
            None => {
                let me = NodeId(random());
                control.write(true, |write| write.put(Key::Node, &me))?;
                me
            }
        };
        let (state, news) = DecidedState::open(control.clone())?;
        let decided = state.decided().clone();
        let millis = |time: Duration| time.as_millis() as u64;
        let config = Config {
            heartbeat_interval: millis(pace.heartbeat),
            election_timeout_min: millis(pace.election),
            election_timeout_max: millis(pace.election * 2),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(pace.snapshot_every),
            max_in_snapshot_log_to_keep: pace.snapshot_every,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|error| failed(&error))?);
        let lines = Lines::new(identity);
        let network = Network { lines: lines.clone() };
        let raft = Raft::new(me, config, network, DecidedLog::new(control), state).await;
        let raft = raft.map_err(|error| failed(&error))?;
        let standing = Arc::new(standing);
        Ok(Started { decisions: Self { raft, me, lines, standing }, decided, news })
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Makes a new cluster of this node alone, once.
    ///
    /// # Errors
    /// It belongs to one already.
    pub async fn create(&self, address: &str) -> Result<(), NotDecided> {
        let members = BTreeMap::from([(self.me, BasicNode::new(address))]);
        self.raft.initialize(members).await.map_err(|error| NotDecided::Refused(error.to_string()))
    }

    /// Who leads, as far as this node knows.
    pub async fn leader(&self) -> Option<NodeId> {
        self.raft.current_leader().await
    }

    /// Has an entry decided, here or where the leader is. What it did, once it is applied there.
    pub async fn propose(&self, entry: Entry, limit: Duration) -> Result<Effect, NotDecided> {
        let decided = async {
            match self.propose_here(entry.clone()).await {
                Proposed::Elsewhere(Some((_, address))) => {
                    let line = self.lines.to(&address);
                    settled(line.ask(&Question::Propose(entry), limit).await)
                }
                here => settled(Ok(here)),
            }
        };
        tokio::time::timeout(limit, decided)
            .await
            .unwrap_or_else(|_| Err(NotDecided::Unknown("no answer in time".to_owned())))
    }

    /// Asks a node of the cluster to let this one in.
    pub async fn join(&self, known: &str, admission: &Admission, limit: Duration) -> Result<(), NotDecided> {
        let mut address = known.to_owned();
        // Whoever is asked may know the leader, and that may change once.
        for _ in 0..3 {
            let line = self.lines.to(&address);
            match line.ask(&Question::Admit(admission.clone()), limit).await {
                Ok(Proposed::Elsewhere(Some((_, elsewhere)))) => address = elsewhere,
                answer => return settled(answer).map(|_| ()),
            }
        }
        Err(NotDecided::NoLeader)
    }

    /// Asks a node how far it is.
    pub async fn ask_standing(&self, node: NodeId, limit: Duration) -> Option<Standing> {
        if node == self.me {
            return Some((self.standing)());
        }
        let line = self.lines.to(&self.address_of(node)?);
        line.ask(&Question::Standing, limit).await.ok()
    }

    /// Where the peer listener of a node is, HOST:PORT.
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().get_node(&node).map(|node| node.addr.clone())
    }

    /// Answers other voters, until they leave.
    pub async fn serve(&self, mut channel: Channel) {
        while let Ok(Some(incoming)) = channel.recv().await {
            if let Incoming::Request(request) = incoming {
                let decisions = self.clone();
                tokio::spawn(async move { decisions.answer(request).await });
            }
        }
    }

    /// Takes part no longer.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            debug!(%error, "the decided log ended by itself");
        }
    }

    async fn answer(&self, request: Request) {
        let question = match serde_json::from_slice(request.body()) {
            Ok(question) => question,
            Err(error) => {
                let _ = request.fail(&format!("a question that means nothing: {error}")).await;
                return;
            }
        };
        let answer = match question {
            Question::Propose(entry) => serde_json::to_vec(&self.propose_here(entry).await),
            Question::Standing => serde_json::to_vec(&(self.standing)()),
            Question::Admit(admission) => serde_json::to_vec(&self.admit_here(admission).await),
            question => answer(&self.raft, question).await.expect("the others are above"),
        };
        // Whoever asked and left asks again.
        let _ = match answer {
            Ok(answer) => request.answer(answer.into()).await,
            Err(error) => request.fail(&error.to_string()).await,
        };
    }

    async fn propose_here(&self, entry: Entry) -> Proposed {
        match self.raft.client_write(entry).await {
            Ok(written) => Proposed::Decided(written.data),
            Err(error) => refused(error),
        }
    }

    async fn admit_here(&self, Admission { node, address, votes }: Admission) -> Proposed {
        if let Err(error) = self.raft.add_learner(node, BasicNode::new(address), true).await {
            return refused(error);
        }
        if !votes {
            return Proposed::Decided(Effect::Changed);
        }
        let change = ChangeMembers::AddVoterIds([node].into());
        match self.raft.change_membership(change, true).await {
            Ok(_) => Proposed::Decided(Effect::Changed),
            Err(error) => refused(error),
        }
    }
}

fn refused(error: RaftError<NodeId, ClientWriteError<NodeId, BasicNode>>) -> Proposed {
    match error.forward_to_leader() {
        Some(forward) => {
            Proposed::Elsewhere(forward.leader_id.zip(forward.leader_node.clone().map(|node| node.addr)))
        }
        None => Proposed::Failed(error.to_string()),
    }
}

fn settled(proposed: Result<Proposed, super::line::NoAnswer>) -> Result<Effect, NotDecided> {
    match proposed {
        Ok(Proposed::Decided(effect)) => Ok(effect),
        Ok(Proposed::Elsewhere(_)) => Err(NotDecided::NoLeader),
        Ok(Proposed::Failed(reason)) => Err(NotDecided::Refused(reason)),
        Err(error) => Err(NotDecided::Unknown(error.to_string())),
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now())
}
