//! A client: what it has asked for, and what it knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use zeo_proto::{MsgId, Oid, Tid, Value};

use super::history::Record;
use super::line::Line;
use super::vote::Work;

/// One of the clients. It outlives its connections, as a client with a cache does.
#[derive(Default)]
pub(super) struct Client {
    pub(super) line: Option<Line>,
    /// Of how many of the published transactions it knows, counted from the first one of all.
    pub(super) seen: usize,
    last_call: i64,
    pub(super) calls: HashMap<i64, Asked>,
    /// Loads that are not answered yet, and how many packs there had been.
    pub(super) loads: Vec<(u64, Tid, usize)>,
    pub(super) transaction: Option<Ongoing>,
    /// The calls for blobs that are not answered, oldest first.
    pub(super) downloads: VecDeque<i64>,
    /// What has come of the first of these.
    pub(super) download: Option<(Oid, Tid, Vec<u8>)>,
    /// For each pack that is done, and whose answer is awaited, whether it must have failed.
    pub(super) pack_failed: VecDeque<bool>,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: Waits,
    /// How many packs there had been when it was asked.
    pub(super) packs: usize,
    /// How many transactions had been published then.
    pub(super) published: usize,
    /// How many of them the client knew of.
    pub(super) seen: usize,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) enum Waits {
    Register,
    Vote,
    /// Its transaction is aborted, before its answer came or before it was even taken.
    AbortedVote,
    Finish,
    LoadSerial(u64, Tid),
    GetTid(u64),
    LastTransaction,
    Invalidations(Tid),
    Blob(u64, Tid),
    Pack,
}

/// A client's transaction.
pub(super) struct Ongoing {
    pub(super) id: i64,
    pub(super) work: Work,
    pub(super) stage: Stage,
    /// Those of the last vote.
    pub(super) locks: Locks,
}

/// The objects that are locked, to write and to check them.
pub(super) type Locks = (BTreeSet<u64>, BTreeSet<u64>);

/// How far a transaction is.
pub(super) enum Stage {
    Collecting,
    /// The answer to the vote is awaited.
    Voting,
    /// Its client is to resolve these: object and committed revision.
    Conflicts(Vec<(u64, Tid)>),
    /// This is what it will write.
    Voted(BTreeMap<u64, Record>),
    /// The committer has it.
    Finishing,
}

impl Client {
    /// Sends a call whose answer is awaited.
    pub(super) fn call(
        &mut self,
        method: &str,
        args: &[Value<'_>],
        what: Waits,
        packs: usize,
        published: usize,
    ) -> i64 {
        self.last_call += 1;
        let asked = Asked { what, packs, published, seen: self.seen };
        self.calls.insert(self.last_call, asked);
        let call = self.last_call;
        self.line().call(&MsgId::Int(call), method, args);
        call
    }

    /// The connection, where the client has one.
    pub(super) fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("the client is connected")
    }

    /// Everything that was under way is lost.
    pub(super) fn disconnect(&mut self) -> Option<Line> {
        self.calls.clear();
        self.loads.clear();
        self.transaction = None;
        self.downloads.clear();
        self.download = None;
        self.pack_failed.clear();
        self.line.take()
    }

    /// A transaction's number that was not used before.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_call += 1;
        self.last_call
    }

    /// Whether a vote is not answered yet.
    pub(super) fn is_voting(&self) -> bool {
        matches!(&self.transaction, Some(Ongoing { stage: Stage::Voting, .. }))
    }

    /// Whether the transaction has locks for certain.
    pub(super) fn has_locks(&self) -> bool {
        matches!(&self.transaction, Some(Ongoing { stage: Stage::Conflicts(_) | Stage::Voted(_), .. }))
    }

    /// The revisions that the transaction, which has voted, is going to point back to.
    pub(super) fn pinned(&self) -> BTreeSet<(Tid, u64)> {
        match &self.transaction {
            Some(Ongoing { stage: Stage::Voted(records), .. }) => {
                let pointers = records.iter().filter_map(|(oid, record)| Some((record.points_to?, *oid)));
                pointers.collect()
            }
            _ => BTreeSet::new(),
        }
    }
}
