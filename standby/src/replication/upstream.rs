//! The I/O around a [`Sink`]: a channel to a source, and the storage that follows it.

use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use replica::{CommitError, Reservation, Series, StagedBlob, Transaction};
use tokio::sync::mpsc;
use tracing::{info, warn};
use zeo_proto::{Oid, Tid};

use super::copy::{Copy, Progress, Repair};
use super::message::{FromSource, Recovery};
use super::ready_now::ready_now;
use super::route::Route;
use super::run::{Compression, Inbox};
use super::sink::{Action, End, Event, Sink};
use crate::peer::{Channel, ChannelSender, Incoming};
use crate::service::apply::Applied;
use crate::service::gate::Hold;
use crate::world::fs::File;
use crate::world::{Instant, spawn_blocking};

/// So many bytes of transactions may wait for the committer: one batch of it, and the next.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// So many transactions are handed to the committer in one go, at most.
const GROUP_MAX: usize = 500;

/// How a copy follows.
#[derive(Clone, Copy, Debug)]
pub struct FollowOptions {
    /// How it recovers, if it must.
    pub recovery: Recovery,
    /// How its source compresses what it says.
    pub compression: Compression,
}

/// Follows the source at the other end, until the stream ends.
pub async fn follow(channel: Channel, copy: &Copy, options: FollowOptions) -> End {
    let (sender, receiver) = channel.split();
    let mut receiver = Inbox::new(receiver, options.compression);
    let mut upstream = Upstream {
        copy: copy.clone(),
        options,
        sender,
        applied: copy.service().applied(),
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        group: Vec::new(),
        series: Series::default(),
        blobs: Vec::new(),
    };
    let end = upstream.run(&mut receiver).await;
    copy.set_route(Route::default());
    // What was handed to the committer is committed; the next stream begins where that ends.
    while !upstream.waiting.is_empty()
        && let Some(applied) = upstream.applied.recv().await
    {
        upstream.take_off(applied.count);
    }
    end
}

struct Upstream {
    copy: Copy,
    options: FollowOptions,
    sender: ChannelSender,
    applied: mpsc::UnboundedReceiver<Applied>,
    /// What the committer has: the lengths of transactions, and their sum.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
    /// What is to be handed to the committer next.
    group: Vec<Incomplete>,
    /// All transactions of the stream: there is nothing behind one that cannot be committed.
    series: Series,
    /// Blobs whose transaction has yet to come.
    blobs: Vec<(Oid, File, StagedBlob)>,
}

/// A transaction that was received.
struct Incomplete {
    tid: Tid,
    checksum: Option<replica::Checksum>,
    portable: Bytes,
    blobs: Vec<(Oid, File, StagedBlob)>,
}

impl Upstream {
    async fn run(&mut self, receiver: &mut Inbox) -> End {
        let mut sink = Sink::new(self.copy.node(), self.options.recovery, self.options.compression);
        let ready = Event::Ready { have: self.copy.have(), recovering: self.copy.lineage().recovering };
        let mut actions = VecDeque::from(sink.handle(ready));
        loop {
            while let Some(action) = actions.pop_front() {
                match self.act(&mut sink, action).await {
                    Ok(more) => actions.extend(more),
                    Err(end) => return end,
                }
            }
            // What is here already goes to the committer in one go.
            if (1..GROUP_MAX).contains(&self.group.len())
                && let Some(Ok(received)) = ready_now(receiver.recv()).await
            {
                match self.take_message(&mut sink, received) {
                    Ok(more) => actions.extend(more),
                    Err(end) => return end,
                }
                continue;
            }
            if let Err(reason) = self.hand_over().await {
                actions.extend(sink.handle(Event::Failed(reason)));
                continue;
            }
            let has_room = self.waiting_bytes < WAITING_BYTES_MAX;
            tokio::select! {
                applied = self.applied.recv() => {
                    actions.extend(self.take_applied(&mut sink, applied.expect("the service goes on")));
                    if let Err(reason) = self.look_whether_caught_up().await {
                        actions.extend(sink.handle(Event::Failed(reason)));
                    }
                }
                received = receiver.recv(), if has_room => match received {
                    Ok(received) => match self.take_message(&mut sink, received) {
                        Ok(more) => actions.extend(more),
                        Err(end) => return end,
                    },
                    Err(error) => return ended(&error),
                },
            }
        }
    }

    fn take_message(&mut self, sink: &mut Sink, received: Option<Incoming>) -> Result<Vec<Action>, End> {
        match received {
            Some(Incoming::Message(message)) => match FromSource::decode(message) {
                Ok(message) => Ok(sink.handle(Event::Received(message))),
                Err(error) => Ok(sink.handle(Event::Failed(error.to_string()))),
            },
            Some(Incoming::Request(_)) => Ok(Vec::new()), // dropped, and so refused
            None => Err(End::Failed("the upstream closed the stream".to_owned())),
        }
    }

    /// Takes all that is durable by now.
    fn take_applied(&mut self, sink: &mut Sink, first: Applied) -> Vec<Action> {
        let mut next = Some(first);
        let mut last = None;
        while let Some(applied) = next {
            self.take_off(applied.count);
            match applied.outcome {
                Ok(tid) => last = Some(tid),
                Err(error) => return sink.handle(Event::Failed(describe(&error))),
            }
            next = self.applied.try_recv().ok();
        }
        let Some(last) = last else { return Vec::new() };
        self.copy.note_heard(|heard| heard.trouble = None);
        sink.handle(Event::Applied(last))
    }

    /// The committer is done with so many.
    fn take_off(&mut self, count: usize) {
        assert!(count <= self.waiting.len(), "the committer tells of what it was given");
        self.waiting_bytes -= self.waiting.drain(..count).sum::<usize>();
    }

    async fn act(&mut self, sink: &mut Sink, action: Action) -> Result<Vec<Action>, End> {
        let failed = |reason: String| Ok(vec![Action::Close(End::Failed(reason))]);
        match action {
            Action::Send(message) => {
                self.sender.send(message.encode()).await.map_err(|error| ended(&error))?;
            }
            Action::Look(tid) => {
                let storage = self.copy.service().storage().clone();
                let found = spawn_blocking(move || storage.place_up_to(tid)).await.expect("no panic");
                return match found {
                    Ok(place) => {
                        let place = place.filter(|place| place.tid == tid);
                        Ok(sink.handle(Event::Looked(place.map(|place| place.checksum))))
                    }
                    Err(error) => Ok(sink.handle(Event::Failed(error.to_string()))),
                };
            }
            Action::TakeEpochs(epochs) => {
                let changed = self.copy.change_lineage(move |lineage| lineage.epochs = epochs);
                if let Err(error) = changed.await {
                    return failed(error.to_string());
                }
                // What this node has is its upstream's history: nothing of it is lost.
                self.copy.service().hold(Hold::Following);
            }
            Action::BeginRecovery(until) => {
                info!(storage = self.copy.name(), %until, "recovering");
                let changed = self.copy.change_lineage(move |lineage| lineage.recovering = Some(until));
                if let Err(error) = changed.await {
                    return failed(error.to_string());
                }
            }
            Action::EndRecovery => {
                info!(storage = self.copy.name(), "recovered");
                if let Err(error) = self.copy.change_lineage(|lineage| lineage.recovering = None).await {
                    return failed(error.to_string());
                }
            }
            Action::Blob { oid, last: _, data } => {
                if let Err(reason) = self.take_blob(oid, data).await {
                    return Ok(sink.handle(Event::Failed(reason)));
                }
            }
            Action::Apply { tid, checksum, portable } => {
                let blobs = std::mem::take(&mut self.blobs);
                self.group.push(Incomplete { tid, checksum, portable, blobs });
                if self.group.len() >= GROUP_MAX
                    && let Err(reason) = self.hand_over().await
                {
                    return Ok(sink.handle(Event::Failed(reason)));
                }
            }
            Action::TakeAnchor(place) => return self.take_anchor(sink, place).await,
            Action::Rewind(fork) => return Err(self.begin_again(Repair::Rewind(fork))),
            Action::SetAside => return Err(self.begin_again(Repair::SetAside)),
            Action::Pack(until) => self.pack(until),
            Action::Upstream { last, distance, .. } => {
                self.copy.note_heard(|heard| heard.at = Some(Instant::now()));
                self.copy.note(|progress| {
                    progress.upstream = Some(last);
                    progress.distance = distance.saturating_add(1);
                });
                if let Err(reason) = self.look_whether_caught_up().await {
                    return failed(reason);
                }
            }
            Action::Route(route) => self.copy.set_route(route),
            Action::Close(end) => return Err(end),
        }
        Ok(Vec::new())
    }

    /// A copy that has everything that its upstream is known to have can be served.
    async fn look_whether_caught_up(&self) -> Result<(), String> {
        let Progress { whole, upstream, .. } = *self.copy.progress().borrow();
        if upstream.is_none_or(|upstream| self.copy.service().storage().last_place().tid < upstream) {
            return Ok(());
        }
        self.copy.note_heard(|heard| heard.trouble = None);
        if whole || !self.copy.lineage().unfinished {
            return Ok(());
        }
        let changed = self.copy.change_lineage(|lineage| lineage.unfinished = false).await;
        changed.map_err(|error| error.to_string())
    }

    /// The node stops serving, mends the copy, and begins again.
    fn begin_again(&self, repair: Repair) -> End {
        let end = End::Failed(format!("this copy must be mended first: {repair}"));
        self.copy.ask_for(repair);
        end
    }

    /// When all that came is durable, the running checksum is the source's.
    async fn take_anchor(&mut self, sink: &mut Sink, place: replica::Place) -> Result<Vec<Action>, End> {
        if let Err(reason) = self.hand_over().await {
            return Ok(sink.handle(Event::Failed(reason)));
        }
        let mut actions = Vec::new();
        while !self.waiting.is_empty() {
            let applied = self.applied.recv().await.expect("the service goes on");
            actions.extend(self.take_applied(sink, applied));
        }
        let storage = self.copy.service().storage().clone();
        let taken = spawn_blocking(move || storage.take_anchor(place)).await.expect("no panic");
        actions.extend(match taken {
            Ok(()) => sink.handle(Event::Anchored),
            Err(error) => sink.handle(Event::Failed(error.to_string())),
        });
        Ok(actions)
    }

    /// Gives the committer what was received.
    async fn hand_over(&mut self) -> Result<(), String> {
        if self.group.is_empty() {
            return Ok(());
        }
        let (copy, series, group) = (self.copy.clone(), self.series.clone(), std::mem::take(&mut self.group));
        let given = spawn_blocking(move || {
            let (mut given, mut prepared) =
                (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
            let mut outcome = Ok(());
            for incomplete in group {
                let waiting = incomplete.portable.len();
                match prepare(&copy, &series, incomplete) {
                    Ok(transaction) => prepared.push(transaction),
                    Err(error) => {
                        outcome = Err(format!("{error:#}"));
                        break;
                    }
                }
                given.push(waiting);
            }
            copy.service().apply(prepared);
            (given, outcome)
        });
        let (given, outcome) = given.await.expect("no panic");
        self.waiting_bytes += given.iter().sum::<usize>();
        self.waiting.extend(given);
        outcome
    }

    async fn take_blob(&mut self, oid: Oid, data: Bytes) -> Result<(), String> {
        let Some(store) = self.copy.service().storage().blobs().cloned() else {
            return Err("the upstream has blobs, and this node has no directory for them".to_owned());
        };
        let begun = self.blobs.pop_if(|(begun, ..)| *begun == oid);
        let written = spawn_blocking(move || {
            let (mut file, staged) = match begun {
                Some((_, file, staged)) => (file, staged),
                None => store.stage()?,
            };
            file.write_all(&data)?;
            std::io::Result::Ok((file, staged))
        });
        let (file, staged) = written
            .await
            .expect("no panic")
            .map_err(|error| format!("a blob could not be written: {error}"))?;
        self.blobs.push((oid, file, staged));
        Ok(())
    }

    /// In the background: the stream goes on meanwhile.
    fn pack(&self, until: Tid) {
        if !self.copy.follows_packs() {
            return;
        }
        let service = self.copy.service().clone();
        spawn_blocking(move || {
            if let Err(error) = service.pack(until) {
                warn!(storage = %service.options().name, %error, "the upstream has packed; packing here failed");
            }
        });
    }
}

fn prepare(
    copy: &Copy,
    series: &Series,
    incomplete: Incomplete,
) -> anyhow::Result<(Transaction, Reservation)> {
    let Incomplete { tid, checksum, portable, blobs } = incomplete;
    let storage = copy.service().storage();
    let mut transaction = storage.import(portable)?;
    anyhow::ensure!(transaction.tid() == Some(tid), "a transaction says that it is another");
    transaction.join(series);
    if let Some(checksum) = checksum {
        transaction.expect_checksum(checksum);
    }
    for (oid, file, staged) in blobs {
        drop(file);
        staged.sync()?;
        transaction.attach_blob(oid, staged);
    }
    let reservation = storage.reserve(&transaction)?;
    Ok((transaction, reservation))
}

fn describe(error: &CommitError) -> String {
    match error {
        CommitError::Checksum { .. } => format!("what came differs from what the upstream has: {error}"),
        other => other.to_string(),
    }
}

fn ended(error: &impl std::fmt::Display) -> End {
    End::Failed(error.to_string())
}
