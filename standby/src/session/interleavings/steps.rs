//! What can happen, at random.

use proptest::prelude::*;

/// Objects of the storage. The last two are blobs.
pub(super) const OIDS: u64 = 8;
/// The first of the blobs.
pub(super) const FIRST_BLOB: u64 = 6;
/// Clients.
pub(super) const CLIENTS: usize = 4;

/// A whole case: how the storage is served, and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// How the storage is served.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Packs collect garbage.
    pub(super) gc: bool,
    /// `getInvalidations` is answered as far back as the log goes; else from a queue, and `aged`, from the log behind it.
    pub(super) from_log: bool,
    pub(super) aged: bool,
    /// The clients with odd numbers speak msgpack.
    pub(super) msgpack: bool,
    /// Of the objects that are no blobs, transactions touch so many: the fewer, the more do clients meet.
    pub(super) busy: u64,
    /// No load is answered at once, so that anything can happen before its answer.
    pub(super) slow_loads: bool,
    /// Transactions are published when a replica has acknowledged them.
    pub(super) acks: bool,
}

/// One step. `usize`s in front are clients.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Connects, where it is not, and asks what it has missed.
    Connect(usize),
    /// The connection is gone, with whatever was under way.
    Disconnect(usize),
    /// Begins a transaction, or adds to it.
    Write(usize, Vec<Write>),
    /// Begins a transaction that undoes those that are so many back.
    Undo(usize, Vec<usize>),
    /// Does what comes next for its transaction: votes, resolves conflicts and votes again, or finishes.
    Go(usize),
    /// Does all that for its transaction, up to the commit, if nobody else is in the way.
    GoThrough(usize),
    /// Votes, also where it has conflicts that are not resolved.
    Vote(usize),
    /// All of these who have voted finish, so that one append may take them all.
    Finish(Vec<usize>),
    /// A replica acknowledges one of the transactions that wait for that, and those before it.
    Acknowledge(usize),
    /// Aborts, at whatever point; with `true`, in the middle of an upload where there can be one.
    Abort(usize, bool),
    /// Asks for something.
    Ask(usize, Question),
    /// The same, and it is taken before the connection has looked what was published.
    AskBehind(usize, Question),
    /// One of the jobs of the connection is done, not always the oldest.
    Job(usize, usize),
    /// The connection takes one of the events that wait for it.
    Event(usize),
    /// The connection takes what has been published.
    CatchUp(usize),
    /// The connection does all that there is to do.
    Run(usize),
    /// A job is done whose connection has gone.
    Orphan,
    /// The server stops and starts again; with `true`, without having stopped in order.
    Restart(bool),
}

/// Something in a transaction.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) oid: u64,
    pub(super) what: What,
    /// It builds on a revision older than the one that its client sees.
    pub(super) stale: bool,
}

impl Write {
    /// The same where there are so many objects that are no blobs.
    pub(super) fn among(&self, objects: u64) -> Self {
        let oid = if self.oid < FIRST_BLOB { self.oid % objects } else { self.oid };
        Self { oid, ..self.clone() }
    }
}

/// What is done to an object.
#[derive(Clone, Debug)]
pub(super) enum What {
    Store {
        value: u8,
        references: Vec<u64>,
    },
    /// The object is to be one of the blobs; the size is in bytes.
    Blob {
        value: u8,
        size: usize,
    },
    Delete,
    CheckCurrent,
}

/// Something that a client asks for.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// The current revision, or the one before the transaction that is so many back.
    Load(u64, Option<usize>),
    LoadSerial(u64, usize),
    GetTid(u64),
    LastTransaction,
    /// What has changed since the transaction that is so many back.
    Invalidations(usize),
    /// The blob of the revision that is so many back.
    Blob(u64, usize),
    /// Packs up to the transaction that is so many back, and waits for the end or does not.
    Pack(usize, bool),
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let busy = prop_oneof![1..=2u64, 3..=FIRST_BLOB];
    let setup = (any::<[bool; 6]>(), busy).prop_map(|(switches, busy)| {
        let [no_gc, from_queue, aged, msgpack, slow_loads, acks] = switches;
        Setup { gc: !no_gc, from_log: !from_queue, aged, msgpack, busy, slow_loads, acks }
    });
    (setup, prop::collection::vec(step(), 1..500)).prop_map(|(setup, steps)| Case { setup, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        8 => client().prop_map(Step::Connect),
        2 => client().prop_map(Step::Disconnect),
        16 => (client(), writes()).prop_map(|(c, writes)| Step::Write(c, writes)),
        6 => (client(), prop::collection::vec(0..6usize, 1..3)).prop_map(|(c, back)| Step::Undo(c, back)),
        20 => client().prop_map(Step::Go),
        16 => client().prop_map(Step::GoThrough),
        2 => client().prop_map(Step::Vote),
        6 => prop::collection::vec(client(), 1..4).prop_map(Step::Finish),
        9 => (0..3usize).prop_map(Step::Acknowledge),
        4 => (client(), any::<bool>()).prop_map(|(c, uploads)| Step::Abort(c, uploads)),
        18 => (client(), question()).prop_map(|(c, question)| Step::Ask(c, question)),
        8 => (client(), question()).prop_map(|(c, question)| Step::AskBehind(c, question)),
        10 => (client(), 0..4usize).prop_map(|(c, which)| Step::Job(c, which)),
        10 => client().prop_map(Step::Event),
        4 => client().prop_map(Step::CatchUp),
        24 => client().prop_map(Step::Run),
        1 => Just(Step::Orphan),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    prop_oneof![1 => Just(vec![]), 12 => prop::collection::vec(write(), 1..4)]
}

fn write() -> impl Strategy<Value = Write> {
    let object = prop_oneof![
        12 => (0..FIRST_BLOB, store()),
        3 => (FIRST_BLOB..OIDS, blob()),
        2 => (0..OIDS, Just(What::Delete)),
        8 => (0..OIDS, Just(What::CheckCurrent)),
    ];
    (object, prop::bool::weighted(0.15)).prop_map(|((oid, what), stale)| Write { oid, what, stale })
}

fn store() -> impl Strategy<Value = What> {
    (1..4u8, prop::collection::vec(0..OIDS, 0..3))
        .prop_map(|(value, references)| What::Store { value, references })
}

fn blob() -> impl Strategy<Value = What> {
    let size = prop_oneof![
        6 => 0..300usize,
        2 => 58_000..60_000usize,
        1 => 471_000..473_000usize, // what is read ahead of a download
        1 => 1_040_000..1_200_000usize, // more than is gathered of an upload
    ];
    (any::<u8>(), size).prop_map(|(value, size)| What::Blob { value, size })
}

fn question() -> impl Strategy<Value = Question> {
    prop_oneof![
        12 => (0..OIDS, prop::option::weighted(0.4, 0..8usize)).prop_map(|(oid, back)| Question::Load(oid, back)),
        2 => (0..OIDS, 0..6usize).prop_map(|(oid, back)| Question::LoadSerial(oid, back)),
        2 => (0..OIDS).prop_map(Question::GetTid),
        2 => Just(Question::LastTransaction),
        2 => (0..10usize).prop_map(Question::Invalidations),
        3 => (FIRST_BLOB..OIDS, 0..4usize).prop_map(|(oid, back)| Question::Blob(oid, back)),
        4 => (0..6usize, any::<bool>()).prop_map(|(back, wait)| Question::Pack(back, wait)),
    ]
}
