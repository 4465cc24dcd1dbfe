//! `tpc_begin` to `tpc_finish`: the two-phase commit of one connection.
//!
//! Until the vote a transaction is only noted. The vote takes the locks of everything that the transaction
//! touches (waiting its turn), checks it against the storage, and reserves disk space; from then on nothing can
//! keep it from being committed but a disk that fails. `tpc_finish` hands it to the committer. The reply leaves
//! when the session comes upon its own transaction among the publications, so that everything committed before it
//! has been told to the client before it.

use replica::{ReadMode, Reservation, Transaction};
use tokio::time::Instant;
use zeo_proto::{Encoder, ErrorReply, Oid, Serial, Tid, TransactionKey, Value};

use super::transaction::{Conflict, NeedsDisk, PendingTransaction, Vote};
use super::{Call, CloseReason, Completion, Outbox, Registered, Session};
use crate::service::locks::{Answer as LockAnswer, Claims, Owner};
use crate::service::publications::Publication;

/// How far a connection's transaction is.
#[derive(Default)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Idle,
    /// Between `tpc_begin` and the vote, or given back to the client with conflicts (then with locks).
    Collecting { transaction: Box<PendingTransaction>, conflicts_since: Option<Instant> },
    /// The vote waits for locks.
    Waiting { transaction: Box<PendingTransaction>, call: Call },
    /// A job works on the vote.
    Away { key: TransactionKey, owner: Owner, ballot: u64, call: Call, locked_since: Option<Instant> },
    /// Voted through.
    Voted {
        key: TransactionKey,
        owner: Owner,
        buffer: Box<Transaction>,
        reservation: Reservation,
        since: Instant,
    },
    /// With the committer; the call is `tpc_finish`.
    Finishing { key: TransactionKey, call: Call },
}

/// What a job did for a vote.
pub(crate) struct VotedAway {
    ballot: u64,
    transaction: Box<PendingTransaction>,
    step: Step,
}

enum Step {
    Claims(Result<Claims, ErrorReply>),
    Vote(Vote),
}

impl Phase {
    fn key(&self) -> Option<&TransactionKey> {
        match self {
            Self::Idle => None,
            Self::Collecting { transaction, .. } | Self::Waiting { transaction, .. } => {
                Some(&transaction.key)
            }
            Self::Away { key, .. } | Self::Voted { key, .. } | Self::Finishing { key, .. } => Some(key),
        }
    }

    /// Whether the committer has the transaction.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self, Self::Finishing { .. })
    }

    /// Whether there is a transaction that can still be aborted.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Idle | Self::Finishing { .. })
    }

    /// Since when the transaction holds locks that others may wait for.
    pub(super) fn locked_since(&self) -> Option<Instant> {
        match self {
            Self::Collecting { conflicts_since: since, .. } | Self::Away { locked_since: since, .. } => {
                *since
            }
            Self::Voted { since, .. } => Some(*since),
            Self::Idle | Self::Waiting { .. } | Self::Finishing { .. } => None,
        }
    }
}

/// What `tpc_begin` says about the transaction.
pub(super) struct Beginning<'a> {
    pub(super) user: &'a [u8],
    pub(super) description: &'a [u8],
    pub(super) extension: &'a Value<'a>,
    pub(super) tid: Option<Tid>,
    pub(super) status: u8,
}

impl Session {
    pub(super) fn tpc_begin(
        &mut self,
        key: TransactionKey,
        beginning: Beginning<'_>,
    ) -> Result<(), ErrorReply> {
        let registered = self.registered();
        registered.check_writable()?;
        match registered.phase.key() {
            Some(current) if *current == key => return Ok(()),
            Some(_) => {
                let text = "Multiple simultaneous tpc_begin requests from one client.";
                return Err(ErrorReply::StorageTransactionText(text.to_owned()));
            }
            None => {}
        }
        if !matches!(beginning.status, b' ' | b'p' | b'u') {
            return Err(ErrorReply::Value(format!(
                "no transaction status: {:?}",
                char::from(beginning.status)
            )));
        }
        let extension = super::information::extension_bytes(beginning.extension)?;
        let mut buffer = registered.service.storage().begin();
        buffer
            .set_metadata(beginning.user, beginning.description, &extension)
            .map_err(super::errors::transaction_error)?;
        buffer.set_status(beginning.status);
        if let Some(tid) = beginning.tid {
            buffer.set_tid(tid);
        }
        let transaction =
            Box::new(PendingTransaction::new(key, registered.service.begin(registered.session), buffer));
        registered.phase = Phase::Collecting { transaction, conflicts_since: None };
        registered.service.stats().active_txns.add_one();
        Ok(())
    }

    /// The transaction that a `storea` and its like add to.
    pub(super) fn collecting(&mut self, key: &TransactionKey) -> Result<&mut PendingTransaction, ErrorReply> {
        let registered = self.registered();
        registered.check_key(key)?;
        match &mut registered.phase {
            Phase::Collecting { transaction, .. } => Ok(transaction),
            _ => Err(ErrorReply::StorageTransactionText("the transaction has voted".to_owned())),
        }
    }

    pub(super) fn vote(
        &mut self,
        key: &TransactionKey,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        if let Err(error) = self.registered().check_vote(key) {
            return self.answer(&call, Err(error), out);
        }
        let Phase::Collecting { transaction, .. } = std::mem::take(&mut self.registered().phase) else {
            unreachable!("check_vote: the transaction is being collected");
        };
        if transaction.reads_log() {
            // Which objects an undo touches is in the log.
            self.vote_away(transaction, call, None, out, |transaction, storage| {
                Step::Claims(transaction.claims(storage))
            });
            return Ok(());
        }
        let claims = transaction.claims(self.registered().service.storage());
        self.take_locks(transaction, call, claims, out)
    }

    fn take_locks(
        &mut self,
        transaction: Box<PendingTransaction>,
        call: Call,
        claims: Result<Claims, ErrorReply>,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => return self.vote_failed(transaction.owner, call, error, out),
        };
        let registered = self.registered();
        match registered.service.lock(transaction.owner, claims) {
            LockAnswer::Granted => self.decide(transaction, call, out),
            LockAnswer::Waiting => {
                registered.phase = Phase::Waiting { transaction, call };
                Ok(())
            }
        }
    }

    pub(super) fn locks_granted(&mut self, owner: Owner, out: &mut Outbox) -> Result<(), CloseReason> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        match std::mem::take(&mut registered.phase) {
            Phase::Waiting { transaction, call } if transaction.owner == owner => {
                self.decide(transaction, call, out)
            }
            phase => {
                registered.phase = phase; // news for a transaction that was given up since
                Ok(())
            }
        }
    }

    /// All locks are held: checks the transaction, here if memory has the answers, else in a job.
    fn decide(
        &mut self,
        mut transaction: Box<PendingTransaction>,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let registered = self.registered();
        match transaction.vote(registered.service.storage(), ReadMode::Cached) {
            Ok(vote) => self.decided(transaction, call, vote, out),
            Err(NeedsDisk) => {
                self.vote_away(transaction, call, Some(Instant::now()), out, |transaction, storage| {
                    let vote = transaction.vote(storage, ReadMode::MayBlock);
                    Step::Vote(
                        vote.unwrap_or_else(|NeedsDisk| unreachable!("this thread may wait for the disk")),
                    )
                });
                Ok(())
            }
        }
    }

    fn vote_away(
        &mut self,
        mut transaction: Box<PendingTransaction>,
        call: Call,
        locked_since: Option<Instant>,
        out: &mut Outbox,
        work: impl FnOnce(&mut PendingTransaction, &replica::Storage) -> Step + Send + 'static,
    ) {
        let registered = self.registered();
        registered.ballots += 1;
        let ballot = registered.ballots;
        registered.phase = Phase::Away {
            key: transaction.key.clone(),
            owner: transaction.owner,
            ballot,
            call,
            locked_since,
        };
        let storage = registered.service.storage().clone();
        self.start(out, std::time::Duration::ZERO, move || {
            let step = work(&mut transaction, &storage);
            Completion::Vote(Box::new(VotedAway { ballot, transaction, step }))
        });
    }

    pub(super) fn voted_away(&mut self, voted: VotedAway, out: &mut Outbox) -> Result<(), CloseReason> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        match &registered.phase {
            Phase::Away { ballot, .. } if *ballot == voted.ballot => {}
            _ => return Ok(()), // aborted meanwhile
        }
        let Phase::Away { call, .. } = std::mem::take(&mut registered.phase) else {
            unreachable!("looked at just above")
        };
        let transaction = voted.transaction;
        match voted.step {
            Step::Claims(claims) => self.take_locks(transaction, call, claims, out),
            Step::Vote(vote) => self.decided(transaction, call, vote, out),
        }
    }

    fn decided(
        &mut self,
        transaction: Box<PendingTransaction>,
        call: Call,
        vote: Vote,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let registered = self.registered();
        match vote {
            Vote::Ready(reservation, undone) => {
                if let Some(oid) = transaction.greatest_oid() {
                    registered.service.oids().observe(oid);
                }
                let (key, owner) = (transaction.key.clone(), transaction.owner);
                let buffer = Box::new(transaction.into_buffer());
                registered.phase = Phase::Voted { key, owner, buffer, reservation, since: Instant::now() };
                let oids = undone.into_iter().map(oid_value).collect();
                self.answer(&call, Ok(Value::List(oids)), out)
            }
            Vote::Conflicts(conflicts) => {
                registered.client.counts.conflicts_returned.add_one();
                registered.phase = Phase::Collecting { transaction, conflicts_since: Some(Instant::now()) };
                let conflicts = conflicts.into_iter().map(conflict_value).collect();
                self.answer(&call, Ok(Value::List(conflicts)), out)
            }
            Vote::Failed(error) => self.vote_failed(transaction.owner, call, error, out),
        }
    }

    /// The vote ends the transaction.
    fn vote_failed(
        &mut self,
        owner: Owner,
        call: Call,
        error: ErrorReply,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let registered = self.registered();
        if matches!(error, ErrorReply::Conflict { .. } | ErrorReply::ReadConflict { .. }) {
            registered.client.counts.conflicts.add_one();
        }
        registered.phase = Phase::Idle;
        registered.service.stats().active_txns.subtract_one();
        registered.service.unlock(owner);
        self.answer(&call, Err(error), out)
    }

    pub(super) fn tpc_finish(
        &mut self,
        key: &TransactionKey,
        call: Call,
        out: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let registered = self.registered();
        let result = match registered.check_key(key) {
            Err(ErrorReply::ReadOnly) => Err(ErrorReply::ReadOnly),
            Err(_) => Ok(Value::None),
            Ok(()) => match std::mem::take(&mut registered.phase) {
                Phase::Voted { key, owner, buffer, reservation, .. } => {
                    registered.phase = Phase::Finishing { key, call };
                    registered.client.counts.commits.add_one();
                    registered.service.commit(owner, *buffer, reservation);
                    return Ok(());
                }
                phase => {
                    let in_conflict = matches!(phase, Phase::Collecting { conflicts_since: Some(_), .. });
                    registered.phase = phase;
                    Err(if in_conflict {
                        ErrorReply::StorageTransactionText("unresolved conflicts".to_owned())
                    } else {
                        ErrorReply::Assertion(Some("finished called wo lock".to_owned()))
                    })
                }
            },
        };
        self.answer(&call, result, out)
    }

    pub(super) fn tpc_abort(&mut self, key: &TransactionKey) -> Result<(), ErrorReply> {
        let registered = self.registered();
        match registered.check_key(key) {
            Err(ErrorReply::ReadOnly) => Err(ErrorReply::ReadOnly),
            Err(_) => Ok(()),
            Ok(()) if matches!(registered.phase, Phase::Finishing { .. }) => Ok(()), // too late
            Ok(()) => {
                registered.client.counts.aborts.add_one();
                registered.abandon_transaction();
                registered.blobs.abandon_upload();
                Ok(())
            }
        }
    }

    pub(super) fn commit_failed(&mut self, reason: &str, out: &mut Outbox) {
        let Some(registered) = &mut self.registered else { return };
        if let Phase::Finishing { call, .. } = std::mem::take(&mut registered.phase) {
            registered.service.stats().active_txns.subtract_one();
            self.encoder.error(&mut out.bytes, &call.msgid, &super::errors::storage_error(reason));
        }
    }
}

impl Registered {
    pub(super) fn check_writable(&self) -> Result<(), ErrorReply> {
        if self.read_only { Err(ErrorReply::ReadOnly) } else { Ok(()) }
    }

    fn check_key(&self, given: &TransactionKey) -> Result<(), ErrorReply> {
        self.check_writable()?;
        match self.phase.key() {
            Some(current) if current == given => Ok(()),
            current => {
                Err(ErrorReply::StorageTransaction { current: current.cloned(), given: given.clone() })
            }
        }
    }

    fn check_vote(&self, key: &TransactionKey) -> Result<(), ErrorReply> {
        self.check_key(key)?;
        let voting = |how: &str| Err(ErrorReply::StorageTransactionText(format!("Already voting ({how})")));
        match &self.phase {
            Phase::Collecting { .. } => Ok(()),
            Phase::Waiting { .. } => voting("waiting"),
            _ => voting("locked"),
        }
    }

    /// The session came upon its own transaction among the publications.
    pub(super) fn finished(&mut self, publication: &Publication, encoder: &Encoder, out: &mut Vec<u8>) {
        let Phase::Finishing { call, .. } = std::mem::take(&mut self.phase) else {
            unreachable!(
                "{} was published for a session that is not finishing a transaction",
                publication.tid
            );
        };
        self.service.stats().active_txns.subtract_one();
        super::information::push_sizes(encoder, out, publication.object_count, publication.size_bytes);
        if !call.oneway {
            encoder.reply_tid(out, &call.msgid, publication.tid);
        }
    }

    /// Ends whatever transaction there is, other than one that the committer has: that one is committed, and its
    /// locks are given back then.
    pub(super) fn abandon_transaction(&mut self) {
        match std::mem::take(&mut self.phase) {
            Phase::Idle => return,
            Phase::Finishing { .. } => {}
            Phase::Collecting { transaction, .. } | Phase::Waiting { transaction, .. } => {
                self.service.unlock(transaction.owner);
            }
            Phase::Away { owner, .. } | Phase::Voted { owner, .. } => self.service.unlock(owner),
        }
        self.service.stats().active_txns.subtract_one();
    }
}

fn conflict_value(conflict: Conflict) -> Value<'static> {
    let Conflict { oid, committed, given, data } = conflict;
    let serials = Value::Tuple(vec![tid_value(committed), serial_value(given)]);
    Value::Dict(vec![
        (Value::Str("oid".into()), oid_value(oid)),
        (Value::Str("serials".into()), serials),
        (Value::Str("data".into()), Value::Bytes(data.into())),
    ])
}

fn serial_value(serial: Serial) -> Value<'static> {
    serial.map_or(Value::None, tid_value)
}

/// An oid as its eight bytes.
pub(super) fn oid_value(oid: Oid) -> Value<'static> {
    Value::Bytes(oid.to_bytes().to_vec().into())
}

/// A tid as its eight bytes.
pub(super) fn tid_value(tid: Tid) -> Value<'static> {
    Value::Bytes(tid.to_bytes().to_vec().into())
}
