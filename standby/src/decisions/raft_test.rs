//! Voters on this machine, over real connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::founding::{Founding, found};
use super::line::{CHANNEL, CHANNEL_OPTIONS};
use super::members::is_joint;
use super::network::Admission;
use super::raft::{Decisions, NotDecided, Pace, Started};
use super::state::News;
use crate::failover::choice::Standing;
use crate::failover::decided::{Decided, Effect};
use crate::failover::entry::{Cause, Entry, LeaseMark, Member, NodeId};
use crate::peer::{Identity, PeerListener};

const PATIENCE: Duration = Duration::from_secs(20);
const PACE: Pace =
    Pace { heartbeat: Duration::from_millis(100), election: Duration::from_millis(500), snapshot_every: 20 };

struct Voter {
    name: String,
    path: PathBuf,
    address: String,
    decisions: Decisions,
    decided: Decided,
    news: mpsc::UnboundedReceiver<News>,
    serving: JoinHandle<()>,
}

impl Voter {
    async fn start(folder: &Path, name: &str, address: &str) -> Self {
        let identity = Arc::new(Identity::for_tests(name));
        let mut listener = PeerListener::bind(address, identity.clone()).await.expect("a free port");
        let address = listener.address().expect("bound").to_string();
        let path = folder.join(format!("{name}.redb"));
        let (lasts, known) = (Vec::new(), Vec::new());
        let standing = Standing { ready: true, clock_off: false, disk_failed: false, epoch: 7, lasts, known };
        let standing = move || standing.clone();
        let Started { decisions, decided, news, .. } =
            Decisions::start(&path, identity, |_| PACE, standing).await.expect("it starts");
        let serving = tokio::spawn({
            let decisions = decisions.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let connection = listener.next().await;
                    let decisions = decisions.clone();
                    connections.spawn(async move {
                        while let Some(opening) = connection.next_opening().await {
                            assert_eq!(opening.name(), CHANNEL);
                            if let Ok(channel) = opening.accept(CHANNEL_OPTIONS) {
                                decisions.serve(channel).await;
                            }
                        }
                    });
                }
            }
        });
        Self { name: name.to_owned(), path, address, decisions, decided, news, serving }
    }

    async fn stop(self) -> (PathBuf, String) {
        self.serving.abort();
        self.decisions.stop().await;
        let _ = self.serving.await;
        (self.path, self.address)
    }

    fn admission(&self, votes: bool) -> Admission {
        Admission { node: self.decisions.me(), address: self.address.clone(), votes }
    }

    fn entry(&self) -> Entry {
        let member = Member {
            name: self.name.clone(),
            group: "here".into(),
            electable: true,
            voter: true,
            priority: 0,
        };
        Entry::Join { node: self.decisions.me(), member }
    }

    /// Hears the news until what is decided is as described.
    async fn hears(&mut self, what: &str, holds: impl Fn(&Decided) -> bool) {
        let hearing = async {
            while !holds(&self.decided) {
                match self.news.recv().await.expect("it goes on") {
                    News::Entry(entry) => {
                        self.decided.apply(&entry);
                    }
                    News::State(decided) => self.decided = *decided,
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.unwrap_or_else(|_| panic!("{} never hears of {what}", self.name));
    }
}

/// Proposes again and again until it is decided.
async fn decide(voter: &Voter, entry: Entry) -> Effect {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match voter.decisions.propose(entry.clone(), "test", Duration::from_secs(1)).await {
            Ok(effect) => return effect,
            Err(error) => assert!(Instant::now() < deadline, "{}: {error}", voter.name),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Three voters, of which the first has made the cluster.
async fn cluster(folder: &Path) -> [Voter; 3] {
    let founding = Founding { by: "test".into(), entries: Vec::new() };
    found(&folder.join("a.redb"), 1, &founding).expect("written").expect("it is new");
    let a = Voter::start(folder, "a", "127.0.0.1:0").await;
    a.decisions.create(&a.address).await.expect("it is new");
    decide(&a, a.entry()).await;
    let mut voters =
        [a, Voter::start(folder, "b", "127.0.0.1:0").await, Voter::start(folder, "c", "127.0.0.1:0").await];
    for number in 1..3 {
        let (known, voter) = (voters[0].address.clone(), &voters[number]);
        voter.decisions.join(&known, &voter.admission(true), PATIENCE).await.expect("it is let in");
        assert_eq!(decide(voter, voter.entry()).await, Effect::Changed);
    }
    for voter in &mut voters {
        voter.hears("three members", |decided| decided.members().len() == 3).await;
    }
    voters
}

fn promote(node: NodeId, after: LeaseMark) -> Entry {
    Entry::Promote { node, after, cause: Cause::Operator, used: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_decide_together_and_go_on_without_one_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut voters = Vec::from(cluster(folder.path()).await);
    let ids: Vec<NodeId> = voters.iter().map(|voter| voter.decisions.me()).collect();
    assert_eq!(decide(&voters[1], promote(ids[0], LeaseMark::default())).await, Effect::Promoted);
    assert_eq!(decide(&voters[2], promote(ids[1], LeaseMark::default())).await, Effect::None, "too late");

    let standing = voters[0].decisions.ask_standing(ids[2], PATIENCE).await.expect("it answers");
    assert_eq!(standing.epoch, 7);
    let leader = voters[0].decisions.leader().await.expect("there is one");
    let gone = voters.remove(ids.iter().position(|id| *id == leader).expect("one of them"));
    let name = gone.name.clone();
    let (path, address) = gone.stop().await;
    let first = LeaseMark { epoch: 1, seq: 0 };
    let next = voters[0].decisions.me();
    assert_eq!(decide(&voters[1], promote(next, first)).await, Effect::Promoted);

    // Many more, so that the log is cut off, and the one that comes back gets a snapshot.
    for round in 0..60 {
        decide(&voters[0], Entry::Pause { paused: round % 2 == 0 }).await;
    }
    decide(&voters[0], Entry::Pause { paused: true }).await;
    assert!(path.exists());
    let mut back = Voter::start(folder.path(), &name, &address).await;
    assert_eq!(back.decisions.me(), leader, "it is the same node");
    back.hears("what was decided meanwhile", |decided| decided.is_paused() && decided.mark().epoch == 2)
        .await;
    for voter in voters {
        voter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_decides_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b, c] = cluster(folder.path()).await;
    b.stop().await;
    c.stop().await;
    let told = a.decisions.propose(Entry::Pause { paused: true }, "test", Duration::from_secs(2)).await;
    assert!(matches!(told, Err(NotDecided::NoLeader | NotDecided::Unknown(_))), "{told:?}");
    assert!(!a.decided.is_paused());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_to_the_address_of_a_lost_voter_does_not_answer_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b, c] = cluster(folder.path()).await;
    c.stop().await;
    let (path, address) = b.stop().await;
    std::fs::remove_file(path).expect("it was there");
    let other = Voter::start(folder.path(), "b", &address).await;
    // What the lost one promised, the other one does not know: two of three would be one.
    let told = a.decisions.propose(Entry::Pause { paused: true }, "test", Duration::from_secs(4)).await;
    assert!(matches!(told, Err(NotDecided::NoLeader | NotDecided::Unknown(_))), "{told:?}");
    assert!(!a.decided.is_paused() && !other.decided.is_paused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = Voter::start(folder.path(), "a", "127.0.0.1:0").await;
    a.decisions.create(&a.address).await.expect("it is new");
    let again = a.decisions.create(&a.address).await.expect_err("it is one already");
    assert!(matches!(again, NotDecided::Refused(_)), "{again}");
}

/// Asks again and again to be let in, as a node does.
async fn come_in(decisions: Decisions, known: String, admission: Admission) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = decisions.join(&known, &admission, Duration::from_secs(2)).await {
        assert!(Instant::now() < deadline, "{admission:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_at_the_same_time_leave_no_change_half_done() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        let founding = Founding { by: "test".into(), entries: Vec::new() };
        found(&folder.path().join("a.redb"), 1, &founding).expect("written").expect("it is new");
        let a = Voter::start(folder.path(), "a", "127.0.0.1:0").await;
        a.decisions.create(&a.address).await.expect("it is new");
        decide(&a, a.entry()).await;
        let b = Voter::start(folder.path(), "b", "127.0.0.1:0").await;
        let c = Voter::start(folder.path(), "c", "127.0.0.1:0").await;
        let mut others = tokio::task::JoinSet::new();
        for first in [1_000, 2_000, 3_000] {
            // These do not vote, nor are they there; b asks for them.
            let (asks, known) = (b.decisions.clone(), a.address.clone());
            others.spawn(async move {
                for number in first.. {
                    let (node, address) = (NodeId(number), "127.0.0.1:1".to_owned());
                    let _ = asks.join(&known, &Admission { node, address, votes: false }, PATIENCE).await;
                }
            });
        }
        let mut coming = tokio::task::JoinSet::new();
        for voter in [&b, &c] {
            coming.spawn(come_in(voter.decisions.clone(), a.address.clone(), voter.admission(true)));
        }
        coming.join_all().await;
        drop(others);
        assert!(!a.decisions.is_changing());
        // They decide without it.
        a.stop().await;
        decide(&b, Entry::Pause { paused: true }).await;
        b.stop().await;
        c.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_somebody_has_left_half_done_is_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b, c] = cluster(folder.path()).await;
    let mut metrics = a.decisions.raft.metrics();
    let leaves = openraft::ChangeMembers::RemoveVoters([c.decisions.me()].into());
    tokio::select! {
        biased;
        begun = metrics.wait_for(is_joint) => drop(begun.expect("it goes on")),
        // Whoever asks is told of the first step only after that is seen.
        done = a.decisions.raft.change_membership(leaves, true) => drop(done.expect("it is done")),
    }
    let complete = async {
        while [&a, &b]
            .iter()
            .any(|voter| voter.decisions.is_changing() || voter.decisions.is_voter(c.decisions.me()))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, complete).await.expect("the second step is taken, too");
}
