//! The I/O around a [`Source`]: a channel to a sink, and the storage that is read.

use std::collections::VecDeque;
use std::io::Read as _;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use replica::{Epochs, Export, Exporter, Place};
use tokio::sync::watch;
use tracing::{info, warn};
use zeo_proto::{Oid, Tid};

use super::copy::Copy;
use super::followers::{Peer, Place as FollowerPlace, Reached};
use super::message::{
    BLOB_PART_BYTES_MAX, Flow, FromSink, FromSource, TRANSACTION_HEADER, put_transaction_header,
};
use super::ready_now::ready_now;
use super::run::{Compression, Packer};
use super::source::{ALIVE_EVERY, Action, Event, Source, Standing};
use crate::peer::{Channel, ChannelError, ChannelReceiver, ChannelSender, Incoming};
use crate::world::{self, Instant, spawn_blocking};

/// About so much is read of the log at a time, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Why a stream to a sink ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Channel(#[from] ChannelError),
    #[error("the sink closed the stream")]
    Left,
    #[error("{0}")]
    Closed(String),
    #[error("this node's own history changed")]
    Changed,
    #[error("{0}")]
    Read(#[from] replica::ReadError),
    #[error("{0}")]
    Bad(#[from] super::message::BadMessage),
}

/// Lets the node at the other end follow, until it leaves.
pub async fn serve(channel: Channel, copy: Copy, peer: Peer) {
    let (storage, remote) = (copy.name().to_owned(), peer.node.clone());
    info!(%storage, %remote, "a stream begins");
    let (sender, receiver) = channel.split();
    let place = copy.followers().join(copy.service().clone(), peer);
    let epochs = copy.epochs();
    let mut downstream =
        Downstream { copy, sender: sender.clone(), place, feed: None, actions: VecDeque::new(), epochs };
    match downstream.run(receiver).await {
        end @ (End::Left | End::Channel(_)) => info!(%storage, %remote, reason = %end, "a stream ended"),
        // The sink was told, and ends what is left of it: a reset could overtake that.
        end @ End::Closed(_) => warn!(%storage, %remote, reason = %end, "a stream ended"),
        end => {
            warn!(%storage, %remote, reason = %end, "a stream ended");
            sender.reset(&end.to_string());
        }
    }
}

struct Downstream {
    copy: Copy,
    sender: ChannelSender,
    place: FollowerPlace,
    feed: Option<Feed>,
    actions: VecDeque<Action>,
    epochs: watch::Receiver<Epochs>,
}

impl Downstream {
    async fn run(&mut self, mut receiver: ChannelReceiver) -> End {
        match self.converse(&mut receiver).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn converse(&mut self, receiver: &mut ChannelReceiver) -> Result<std::convert::Infallible, End> {
        let mut tip = self.copy.service().tip();
        let mut packed = self.copy.service().packed();
        let mut ticks = tokio::time::interval(ALIVE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut route = self.copy.route();
        let below = route.borrow_and_update().below(self.copy.node());
        let mut source = Source::new(self.copy.have(), self.standing(), below);
        loop {
            while let Some(action) = self.actions.pop_front() {
                match self.act(&mut source, action).await {
                    Err(end @ End::Channel(_)) => {
                        return Err(self.reason_of_the_sink(&mut source, receiver).await.unwrap_or(end));
                    }
                    acted => acted?,
                }
                // What the sink says must not pile up while much is sent.
                while let Some(received) = ready_now(receiver.recv()).await {
                    self.receive(&mut source, received)?;
                }
            }
            let not_before = source.gathers_until().filter(|_| !self.place.is_waited_for());
            tokio::select! {
                received = receiver.recv() => self.receive(&mut source, received)?,
                changed = changed_after(&mut tip, not_before) => {
                    changed.map_err(|_| End::Changed)?;
                    self.handle(&mut source, Event::Published(self.standing()));
                }
                Ok(()) = packed.changed() => {
                    let until = *packed.borrow_and_update();
                    if let Some(until) = until {
                        self.handle(&mut source, Event::Packed(until));
                    }
                }
                _ = self.epochs.changed() => return Err(End::Changed),
                _ = route.changed() => {
                    let below = route.borrow_and_update().below(self.copy.node());
                    self.handle(&mut source, Event::Route(below));
                }
                _ = ticks.tick() => {
                    self.handle(&mut source, Event::Published(self.standing()));
                    self.handle(&mut source, Event::Tick);
                }
            }
        }
    }

    /// Why the sink gave up, where it has said so before the stream ended, and that is yet to be read.
    async fn reason_of_the_sink(
        &mut self,
        source: &mut Source,
        receiver: &mut ChannelReceiver,
    ) -> Option<End> {
        while let Some(received) = ready_now(receiver.recv()).await {
            self.receive(source, received).ok()?;
            let closing = self.actions.drain(..).find_map(|action| match action {
                Action::Close(reason) => Some(End::Closed(reason)),
                _ => None,
            });
            if closing.is_some() {
                return closing;
            }
        }
        None
    }

    fn receive(
        &mut self,
        source: &mut Source,
        received: Result<Option<Incoming>, ChannelError>,
    ) -> Result<(), End> {
        let message = match received? {
            Some(Incoming::Message(message)) => FromSink::decode(message)?,
            Some(Incoming::Request(_)) => return Ok(()), // dropped, and so refused
            None => return Err(End::Left),
        };
        self.handle(source, Event::Received(message));
        Ok(())
    }

    fn handle(&mut self, source: &mut Source, event: Event) {
        self.actions.extend(source.handle(Instant::now(), event));
        let (flowing, sent, durable) = (source.is_flowing(), source.sent(), source.durable());
        self.place.note(Reached { flowing, sent, durable });
    }

    async fn act(&mut self, source: &mut Source, action: Action) -> Result<(), End> {
        match action {
            Action::Send(message) => {
                if let FromSource::Stream { anchor, .. } = &message
                    && let Some(feed) = &mut self.feed
                {
                    feed.announces = anchor.is_some();
                }
                self.sender.send(message.encode()).await?;
            }
            Action::Look(tid) => {
                let storage = self.copy.service().storage().clone();
                let place = spawn_blocking(move || storage.place_up_to(tid)).await.expect("no panic")?;
                self.handle(source, Event::Looked(place));
            }
            Action::Export { what, after } => {
                let (copy, compression) = (self.copy.clone(), source.compression());
                let feed = spawn_blocking(move || Feed::open(&copy, what, after, compression))
                    .await
                    .expect("no panic")?;
                let anchor = feed.exporter.anchor();
                self.feed = Some(feed);
                self.handle(source, Event::Exporting(anchor));
            }
            Action::ReadNext => self.read_next(source).await?,
            Action::Close(reason) => {
                self.sender.finish();
                return Err(End::Closed(reason));
            }
        }
        Ok(())
    }

    async fn read_next(&mut self, source: &mut Source) -> Result<(), End> {
        let mut feed = self.feed.take().expect("something is exported");
        let (feed, read) = spawn_blocking(move || {
            let read = feed.read();
            (feed, read)
        })
        .await
        .expect("no panic");
        self.feed = Some(feed);
        let Read { items, last, at_end } = read?;
        // The boundary of a new reign is committed after that is known: a sink that is not told of the reign must not take
        // it for a transaction of the last one.
        if self.epochs.has_changed().unwrap_or(true) {
            return Err(End::Changed);
        }
        self.handle(source, Event::Published(self.standing()));
        self.handle(source, last.map_or(Event::AtEnd, |last| Event::Sent { last, at_end }));
        for item in items {
            match item {
                Item::Message(message) => self.sender.send(message).await?,
                Item::Blob(oid, path) => self.send_blob(oid, path, source.compression()).await?,
            }
        }
        Ok(())
    }

    /// Sends a blob part by part. One that a pack has removed meanwhile is of no use to the sink either.
    async fn send_blob(
        &mut self,
        oid: Oid,
        path: std::path::PathBuf,
        compression: Compression,
    ) -> Result<(), End> {
        let open = move || std::io::Result::Ok((world::fs::File::open(path)?, Packer::new(compression)?));
        let (mut file, mut packer) = match spawn_blocking(open).await.expect("no panic") {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(End::Read(error.into())),
        };
        loop {
            let (returned, read) = spawn_blocking(move || {
                let mut part = Vec::with_capacity(BLOB_PART_BYTES_MAX);
                let read = file.by_ref().take(BLOB_PART_BYTES_MAX as u64).read_to_end(&mut part);
                let last = part.len() < BLOB_PART_BYTES_MAX;
                FromSource::Blob { oid, last, data: part.into() }.encode_into(packer.begin());
                let message = packer.end_apart(&mut Vec::new());
                ((file, packer), read.map(|_| (message, last)))
            })
            .await
            .expect("no panic");
            (file, packer) = returned;
            let (message, last) = read.map_err(|error| End::Read(error.into()))?;
            self.sender.send(message).await?;
            if last {
                return Ok(());
            }
        }
    }

    fn standing(&self) -> Standing {
        let storage = self.copy.service().storage();
        let micros = world::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Standing {
            last: storage.last_place().tid,
            log_bytes: storage.size_bytes(),
            unix_micros: micros as u64,
            distance: self.copy.progress().borrow().distance,
        }
    }
}

/// As [`watch::Receiver::changed`], but not before this moment.
async fn changed_after(
    tip: &mut watch::Receiver<Tid>,
    not_before: Option<Instant>,
) -> Result<(), watch::error::RecvError> {
    if let Some(moment) = not_before {
        tokio::time::sleep_until(moment.into()).await;
    }
    tip.changed().await
}

/// What is read of a storage for a stream.
struct Feed {
    copy: Copy,
    exporter: Exporter,
    anchor: Place,
    /// It is yet to be said that what comes is whole.
    announces: bool,
    packer: Packer,
}

/// What was read in one go.
struct Read {
    items: Vec<Item>,
    /// The last transaction of it.
    last: Option<Tid>,
    /// There was nothing more.
    at_end: bool,
}

enum Item {
    Message(Bytes),
    Blob(Oid, std::path::PathBuf),
}

impl Feed {
    fn open(
        copy: &Copy,
        what: Flow,
        after: Tid,
        compression: Compression,
    ) -> Result<Self, replica::ReadError> {
        let what = match what {
            Flow::All => Export::All,
            Flow::Current => Export::Current,
        };
        let exporter = copy.service().storage().export(after, what)?;
        let packer = Packer::new(compression)?;
        Ok(Self { anchor: exporter.anchor(), copy: copy.clone(), exporter, announces: false, packer })
    }

    /// What comes next.
    fn read(&mut self) -> Result<Read, replica::ReadError> {
        let (mut items, mut ready, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut last, mut at_end) = (None, false);
        while bytes < READ_BYTES && !at_end {
            let message = self.packer.begin();
            let begin = message.len();
            message.resize(begin + TRANSACTION_HEADER, 0);
            let Some(exported) = self.exporter.next(message)? else {
                self.packer.take_back();
                if std::mem::take(&mut self.announces) {
                    self.packer.push(&FromSource::Whole.encode(), &mut ready);
                }
                at_end = true;
                continue;
            };
            bytes += message.len() - begin;
            put_transaction_header(&mut &mut message[begin..], exported.tid, exported.checksum);
            last = Some(exported.tid);
            let announces = self.announces && exported.tid > self.anchor.tid;
            if !announces && exported.blobs.is_empty() {
                self.packer.end(&mut ready);
                continue;
            }
            let message = self.packer.end_apart(&mut ready);
            items.extend(ready.drain(..).map(Item::Message));
            if announces {
                self.announces = false;
                items.push(Item::Message(FromSource::Whole.encode()));
            }
            let blobs = self.copy.service().storage().blobs();
            for oid in exported.blobs {
                let store = blobs.expect("a storage without blobs exports none");
                items.push(Item::Blob(oid, store.path(oid, exported.tid)));
            }
            items.push(Item::Message(message));
        }
        self.exporter.rest();
        self.packer.flush(&mut ready);
        items.extend(ready.into_iter().map(Item::Message));
        Ok(Read { items, last, at_end })
    }
}

#[cfg(test)]
#[path = "downstream_test.rs"]
mod tests;
