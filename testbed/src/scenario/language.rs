//! What a scenario says, as data.

use std::time::Duration;

/// A scenario: a cluster with its clients, what happens to it, and what must hold at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The comment at its beginning, in one line.
    pub about: String,
    /// The nodes: those of the first site first, witnesses last.
    pub nodes: Vec<NodePlan>,
    /// The sites that are far from the others.
    pub links: Vec<Link>,
    /// So many replicas have a transaction before its client is answered; 0: the client does not wait for any.
    pub acks: usize,
    /// How long a primary's lease is, where it is not the usual one.
    pub lease: Option<Duration>,
    /// Who writes and reads.
    pub clients: ClientPlan,
    /// What happens, in order.
    pub steps: Vec<Line<Step>>,
    /// What must hold at the end.
    pub conclusions: Vec<Line<Conclusion>>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// It votes and has no data.
    pub is_witness: bool,
}

/// How far a site is from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The site.
    pub site: String,
    /// So much later everything arrives, in each direction.
    pub delay: Duration,
    /// So many bits a second pass, in each direction.
    pub bits_per_second: Option<u64>,
}

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// So many write.
    pub writers: usize,
    /// So many read only.
    pub readers: usize,
    /// They are stock ZEO clients in Python, and not Rust clients.
    pub are_stock: bool,
}

/// Something that was said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<T> {
    /// What it means.
    pub what: T,
    /// The number of the line, from 1.
    pub number: usize,
    /// The line as it stands there.
    pub text: String,
}

/// A node, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The node of this number.
    Node(usize),
    /// The one that is the primary just then.
    Primary,
    /// The one that was the primary when a step last did something to the primary.
    OldPrimary,
    /// One of the replicas at the primary's site, by chance.
    SomeReplica,
    /// The one that was chosen last.
    ThatReplica,
    /// All nodes of a site.
    Site(String),
    /// Every node.
    All,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// SIGKILL.
    Kill(Vec<Who>),
    /// SIGTERM, and waits until it has ended.
    Stop(Vec<Who>),
    /// Starts those that do not run.
    Start(Vec<Who>),
    /// Stops and starts.
    Restart(Vec<Who>),
    /// SIGSTOP: stands still.
    Freeze(Vec<Who>),
    /// SIGCONT.
    Thaw(Vec<Who>),
    /// From now on they and the others do not reach each other.
    CutOff(Cut),
    /// Everybody reaches everybody again.
    Heal,
    /// There is no room on the disk any more.
    FillDisk(Vec<Who>),
    /// There is again.
    FreeDisk(Vec<Who>),
    /// Its data cannot be made durable any more.
    BreakDisk(Vec<Who>),
    /// It can again.
    MendDisk(Vec<Who>),
    /// Its wall clock is so many milliseconds ahead of what it would be; negative: behind.
    SetClock(Vec<Who>, i64),
    /// It neither hears nor answers anybody.
    Quiet(Vec<Who>),
    /// It does again.
    Wake(Vec<Who>),
    /// An operator makes another node the primary: this one, or the best.
    Switchover(Option<Who>),
    /// Goes on when something holds, and fails when it does not within this time.
    WaitUntil(Condition, Duration),
    /// Goes on after this time, and fails when something does not hold all the while.
    Throughout(Duration, Condition),
    /// Goes on after this time.
    Wait(Duration),
    /// Goes on after some time, by chance, and after this one at the latest.
    WaitUpTo(Duration),
}

/// Who is cut off from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Those who are, and who still reach each other.
    pub who: Vec<Who>,
    /// What is lost.
    pub way: CutWay,
    /// From the clients, too.
    pub also_from_clients: bool,
}

/// What is lost when somebody is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutWay {
    /// All.
    Both,
    /// What they send to others.
    Sent,
    /// What others send to them.
    Received,
}

/// Something that holds or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A node says that it is the primary.
    SomePrimary,
    /// One that is not the old primary says so.
    AnotherPrimary,
    /// None says so.
    NoPrimary,
    /// This node is the primary, or is not.
    IsPrimary(Who, bool),
    /// The primary is at this site.
    PrimaryAt(String),
    /// Every node that runs has all that the primary has.
    AllInStep,
    /// Every client has done something that it began after it was asked.
    EveryClientWrites,
    /// No client has committed anything for a second.
    NoClientWrites,
    /// A client was told that there is no room for what it wants to commit.
    CommitsAreRefused,
    /// The other nodes say that it has failed.
    IsMissed(Who),
    /// It says of its clock that it is off.
    ClockIsOff(Who),
    /// It says of its disk that it has failed.
    DiskHasFailed(Who),
}

/// Something that must hold at the end. That what clients were told is honest must always hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Every client can still do its work.
    EveryClientWrites,
    /// Every transaction of which a client was told that it is committed is there.
    NothingAcknowledgedIsLost,
    /// One is not; and the cluster lists it, and has saved it.
    SomethingIsLostAndListed,
    /// Whatever was lost is listed, and saved.
    WhatIsLostIsListed,
    /// Nobody has read anything that was not current in the history that he knew.
    NoStaleRead,
    /// The files of all nodes are the same, byte by byte.
    SameHistory,
    /// The node of this number is the primary.
    PrimaryIs(usize),
    /// The primary is at this site.
    PrimaryAt(String),
    /// The node of this number was never the primary.
    WasNeverPrimary(usize),
}
