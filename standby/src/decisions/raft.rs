//! One node's part in deciding.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::charter::{Charter, Relation, relation};
use super::control::{Control, ControlError, Key};
use super::founding::{Addresses, Founding};
use super::line::{Lines, NoAnswer};
use super::log::DecidedLog;
use super::network::{Admission, Letter, Network, Proposed, Question, answer};
use super::state::{DecidedState, Known, News};
use super::types::Types;
use crate::failover::choice::Standing;
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Entry, NodeId};
use crate::failover::history::Stamped;
use crate::failover::order::{Order, Outcome};
use crate::peer::{Channel, Identity, Incoming, Request};
use crate::refusals::Refusals;
use crate::world::{self, Instant};

/// How fast a leader is missed, and how much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A leader is heard of so often.
    pub heartbeat: Duration,
    /// Without it, another is elected after about twice this time; and a voter has so long to keep its vote on its disk and
    /// give it. (That two stand for election at once does no harm: `openraft` orders votes of one term by node.)
    pub election: Duration,
    /// A snapshot is made every so many entries; as many are kept behind it.
    pub snapshot_every: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            snapshot_every: 5_000,
        }
    }
}

/// So many questions may wait for an answer: where there is no room on the disk none is given, and others go on asking.
const QUESTIONS_MAX: usize = 1024;

/// The decided log, as one node takes part in it. Clones are the same.
#[derive(Clone)]
pub struct Decisions {
    pub(super) raft: Raft<Types>,
    me: NodeId,
    lines: Lines,
    standing: Arc<dyn Fn() -> Standing + Send + Sync>,
    known: watch::Receiver<Arc<Known>>,
    orders: mpsc::UnboundedSender<Ordered>,
    control: Control,
    charter: watch::Sender<Option<Charter>>,
    superseded: watch::Sender<Option<Superseded>>,
    refusals: Arc<Mutex<Refusals>>,
    /// Places for questions that are being answered.
    answers: Arc<Semaphore>,
    /// Whoever changes who takes part.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
}

/// The log that a node takes part in was begun anew without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The later generation.
    pub by: Charter,
    /// Where a node of it is.
    pub address: String,
}

/// An order to this node.
pub struct Ordered {
    /// What to do.
    pub order: Order,
    /// Where to say what became of it.
    pub outcome: oneshot::Sender<Outcome>,
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
    /// What it is told to do.
    pub orders: mpsc::UnboundedReceiver<Ordered>,
    /// What is still to be decided so that the log has begun.
    pub founding: Option<Founding>,
    /// Nodes that may not know that the log was begun anew, or that know it.
    pub others: Addresses,
}

impl Decisions {
    /// Takes part with what is in this file. A node without one is a new node. Others are told its `standing`.
    pub async fn start(
        path: &Path,
        identity: Arc<Identity>,
        pace: impl FnOnce(&Decided) -> Pace,
        standing: impl Fn() -> Standing + Send + Sync + 'static,
    ) -> Result<Started, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let control = Control::open(path)?;
        let me = control.node()?;
        let (state, news) = DecidedState::open(control.clone())?;
        let (decided, known) = (state.decided().clone(), state.known());
        let pace = pace(&decided);
        let millis = |time: Duration| time.as_millis() as u64;
        let config = Config {
            heartbeat_interval: millis(pace.heartbeat),
            election_timeout_min: millis(pace.election),
            election_timeout_max: millis(pace.election + pace.election / 10),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(pace.snapshot_every),
            max_in_snapshot_log_to_keep: pace.snapshot_every,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|error| failed(&error))?);
        let charter = watch::Sender::new(control.get(Key::Charter)?);
        let (founding, others) = (control.get(Key::Founding)?, control.get(Key::Others)?.unwrap_or_default());
        let lines = Lines::new(identity, me, charter.subscribe());
        let network = Network { lines: lines.clone() };
        let raft = Raft::new(me, config, network, DecidedLog::new(control.clone()), state).await;
        let raft = raft.map_err(|error| failed(&error))?;
        let standing = Arc::new(standing);
        let (orders, ordered) = mpsc::unbounded_channel();
        let decisions = Self {
            raft,
            me,
            lines,
            standing,
            known,
            orders,
            control,
            charter,
            superseded: watch::Sender::new(None),
            refusals: Arc::default(),
            answers: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            changing: Arc::default(),
        };
        tokio::spawn(decisions.clone().complete_changes());
        Ok(Started { decisions, decided, news, orders: ordered, founding, others })
    }

    /// The log that it takes part in; `None`: it belongs to no cluster yet.
    pub fn charter(&self) -> Option<Charter> {
        *self.charter.borrow()
    }

    /// Whether its log was begun anew without it, as that changes.
    pub fn superseded(&self) -> watch::Receiver<Option<Superseded>> {
        self.superseded.subscribe()
    }

    /// Everything that the log begins with is decided.
    pub async fn founded(&self) -> Result<(), ControlError> {
        let control = self.control.clone();
        let forget = move || control.write(true, |write| write.remove(Key::Founding));
        world::spawn_blocking(forget).await.expect("no panic")
    }

    /// Tells a node that the log was begun anew, and where this one is. It may have taken it in or not.
    pub async fn tell_of_generation(&self, other: &str, here: &str, limit: Duration) -> Result<(), NoAnswer> {
        self.lines.to(other).ask(&Question::Hear(here.to_owned()), limit).await
    }

    /// These nodes need not be told any more.
    pub async fn keep_others(&self, others: Addresses) -> Result<(), ControlError> {
        let control = self.control.clone();
        let keep = move || control.write(true, |write| write.put(Key::Others, &others));
        world::spawn_blocking(keep).await.expect("no panic")
    }

    /// What this node knows of the cluster, as it changes.
    pub fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.known.clone()
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
    /// `by` is a node, or an operator at one.
    pub async fn propose(&self, entry: Entry, by: &str, limit: Duration) -> Result<Effect, NotDecided> {
        let since = world::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamped = Stamped { at_millis: since.as_millis() as u64, by: by.to_owned(), entry };
        let here = self.propose_here(stamped.clone());
        self.where_the_leader_is(here, Question::Propose(stamped), limit).await
    }

    /// Nobody counts on the vote of a node any more, nor tells it anything.
    pub async fn dismiss(&self, node: NodeId, limit: Duration) -> Result<Effect, NotDecided> {
        self.where_the_leader_is(self.dismiss_here(node), Question::Dismiss(node), limit).await
    }

    /// Has a node do something, this one or another.
    pub async fn order(&self, node: NodeId, order: Order, limit: Duration) -> Outcome {
        if node == self.me {
            return self.order_here(order).await;
        }
        let address = self.address_of(node).ok_or("nobody knows where it is")?;
        let line = self.lines.to(&address);
        line.ask(&Question::Order(order), limit)
            .await
            .unwrap_or_else(|error| Err(format!("it does not answer ({error})")))
    }

    async fn order_here(&self, order: Order) -> Outcome {
        let (outcome, told) = oneshot::channel();
        let stopping = || "the node is stopping".to_owned();
        self.orders.send(Ordered { order, outcome }).map_err(|_| stopping())?;
        told.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// The outcome of something that only the leader can do.
    async fn where_the_leader_is(
        &self,
        here: impl Future<Output = Proposed>,
        question: Question,
        limit: Duration,
    ) -> Result<Effect, NotDecided> {
        let decided = async {
            match here.await {
                Proposed::Elsewhere(Some((_, address))) => {
                    settled(self.lines.to(&address).ask(&question, limit).await)
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
                // It was let in before, and leads by now.
                Ok(Proposed::Elsewhere(Some((leader, _)))) if leader == self.me => {
                    return settled(Ok(self.admit_here(admission.clone()).await)).map(|_| ());
                }
                Ok(Proposed::Elsewhere(Some((_, elsewhere)))) => address = elsewhere,
                answer => return settled(answer).map(|_| ()),
            }
        }
        Err(NotDecided::NoLeader)
    }

    /// Whether the cluster has removed this node, as a node there says; `None`: it does not answer.
    pub async fn is_removed(&self, other: &str, limit: Duration) -> Option<bool> {
        let told: Result<Standing, NoAnswer> = self.lines.to(other).ask(&Question::Standing, limit).await;
        match told {
            Ok(_) => Some(false),
            Err(error) => error.to_string().contains(GONE).then_some(true),
        }
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

    /// The peer listeners of all nodes that are told what is decided.
    pub fn addresses(&self) -> Vec<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.nodes().map(|(_, node)| node.addr.clone()).collect()
    }

    /// Answers other voters, until they leave.
    pub async fn serve(&self, mut channel: Channel) {
        while let Ok(Some(incoming)) = channel.recv().await {
            let Incoming::Request(request) = incoming else { continue };
            let Ok(place) = self.answers.clone().try_acquire_owned() else {
                let _ = request.fail("it has too many questions to answer").await;
                continue;
            };
            let decisions = self.clone();
            tokio::spawn(async move {
                decisions.answer(request).await;
                drop(place);
            });
        }
    }

    /// Takes part no longer.
    pub async fn stop(&self) {
        self.control.give_up();
        if let Err(error) = self.raft.shutdown().await {
            debug!(%error, "the decided log ended by itself");
        }
        let control = self.control.clone();
        world::spawn_blocking(move || control.close()).await.expect("no panic");
    }

    async fn answer(&self, request: Request) {
        let Letter { charter, from, to, question } = match serde_json::from_slice(request.body()) {
            Ok(letter) => letter,
            Err(error) => {
                let _ = request.fail(&format!("a question that means nothing: {error}")).await;
                return;
            }
        };
        if self.known.borrow().decided.is_gone(from) {
            let _ = request.fail(GONE).await;
            return;
        }
        // It would be asked to keep what another has promised.
        if to.is_some_and(|to| to != self.me()) {
            let _ = request.fail("another node is at this address now").await;
            return;
        }
        if let Err(reason) = self.receive(charter, &question).await {
            let _ = request.fail(&reason).await;
            return;
        }
        let answer = match question {
            Question::Hear(_) => serde_json::to_vec(&()),
            Question::Propose(entry) => serde_json::to_vec(&self.propose_here(entry).await),
            Question::Standing => serde_json::to_vec(&(self.standing)()),
            Question::Dismiss(node) => serde_json::to_vec(&self.dismiss_here(node).await),
            Question::Order(order) => serde_json::to_vec(&self.order_here(order).await),
            Question::Admit(admission) => serde_json::to_vec(&self.admit_here(admission).await),
            question => answer(&self.raft, question).await.expect("the others are above"),
        };
        // Whoever asked and left asks again.
        let _ = match answer {
            Ok(answer) => request.answer(answer.into()).await,
            Err(error) => request.fail(&error.to_string()).await,
        };
    }

    /// Whether a question of a node that takes part in that log is answered. Takes in what it says of logs.
    async fn receive(&self, theirs: Option<Charter>, question: &Question) -> Result<(), String> {
        let mine = self.charter();
        match (relation(mine, theirs), question) {
            (Relation::Same, _) | (Relation::Newcomer, Question::Admit(_)) => Ok(()),
            (Relation::Newcomer, _) => Err("it belongs to no cluster yet".to_owned()),
            (Relation::Host(charter), Question::Append(_) | Question::Snapshot(_) | Question::Vote(_)) => {
                self.adopt(charter).await.map_err(|error| error.to_string())
            }
            (Relation::Host(_), _) => Err("this node belongs to no cluster yet".to_owned()),
            (Relation::Ahead(by), Question::Hear(address)) => {
                self.superseded.send_replace(Some(Superseded { by, address: address.clone() }));
                Err("this node takes it in".to_owned())
            }
            (Relation::Ahead(_), _) => {
                Err("this node has not heard yet that the log was begun anew".to_owned())
            }
            (relation, _) => {
                let mine = mine.map_or_else(String::new, |mine| mine.to_string());
                let theirs = theirs.map_or_else(String::new, |theirs| theirs.to_string());
                let reason = match relation {
                    Relation::Foreign => format!("it belongs to {theirs}, and this node to {mine}"),
                    _ => format!("the log was begun anew: this node belongs to {mine}, it still to {theirs}"),
                };
                let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(untold) = refusals.add(Instant::now()) {
                    warn!(%reason, untold = untold - 1, "refused a node's question");
                }
                Err(reason)
            }
        }
    }

    async fn adopt(&self, charter: Charter) -> Result<(), ControlError> {
        let control = self.control.clone();
        let keep = move || control.write(true, |write| write.put(Key::Charter, &charter));
        world::spawn_blocking(keep).await.expect("no panic")?;
        self.charter.send_replace(Some(charter));
        Ok(())
    }

    async fn propose_here(&self, stamped: Stamped) -> Proposed {
        match self.raft.client_write(stamped).await {
            Ok(written) => Proposed::Decided(written.data),
            Err(error) => refused(error),
        }
    }
}

/// What a node that was removed is told.
pub const GONE: &str =
    "this node was removed from the cluster: without its file ….control.redb it comes as a new one";

pub(super) fn refused(error: RaftError<NodeId, ClientWriteError<NodeId, BasicNode>>) -> Proposed {
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
