//! Clients that write, read and cache, and write down what they are told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use simulated_world::{Chance, Random};
use standby_checker::{History, Recorder};
use turmoil::Sim;
use zeo_proto::client::{Client, Error, Metadata, Options, Revision, Snapshot};
use zeo_proto::{Oid, Tid};

use super::address;
use super::clocks::Clocks;
use super::node::{ZEO, ZEO_RO};
use super::trace::Trace;

/// How many write, and how many only read.
const WRITERS: usize = 3;
const READERS: usize = 1;
/// The objects that they share.
const OIDS: u64 = 8;
/// So many of them are read in each transaction.
const READ: u64 = 3;

type Shared = Rc<RefCell<State>>;

#[derive(Default)]
struct State {
    stop: bool,
    recorders: Vec<Recorder>,
    committed: Vec<u64>,
    ended: usize,
}

/// All clients.
pub(super) struct Clients {
    shared: Shared,
    pub(super) addresses: Vec<std::net::IpAddr>,
}

impl Clients {
    /// Starts them at addresses behind those of so many nodes.
    pub(super) fn start(
        sim: &mut Sim<'static>,
        nodes: usize,
        voters: usize,
        seed: u64,
        clocks: &Clocks,
        trace: &Trace,
    ) -> Self {
        let shared = Shared::default();
        let mut addresses = Vec::new();
        for number in 0..WRITERS + READERS {
            let writes = number < WRITERS;
            shared.borrow_mut().committed.push(0);
            let servers = (0..if writes { voters } else { nodes })
                .map(|node| format!("{}:{}", address(node), if writes { ZEO } else { ZEO_RO }));
            let servers: Vec<String> = servers.collect();
            let options = if writes {
                Options::new(servers.iter().map(String::as_str))
            } else {
                Options::read_only(servers.iter().map(String::as_str))
            };
            let options =
                Options { silence: Duration::from_secs(3), wait: Duration::from_secs(5), ..options };
            let (shared, clocks, trace) = (Rc::clone(&shared), clocks.clone(), trace.clone());
            addresses.push(address(nodes + number));
            sim.host(address(nodes + number), move || {
                let (shared, clocks, trace) = (Rc::clone(&shared), clocks.clone(), trace.clone());
                let options = options.clone();
                async move {
                    let chance = Chance::new(seed ^ (number as u64) << 32);
                    let client = Client::start(options);
                    let recorder = Recorder::new(format!("client {number}"), client.events());
                    let place = shared.borrow().recorders.len();
                    shared.borrow_mut().recorders.push(recorder);
                    let done = Member { number, place, writes, shared, clocks, trace, chance, written: 0 }
                        .live(client);
                    Ok(done.await?)
                }
            });
        }
        Self { shared, addresses }
    }

    /// Whether each writer has committed something.
    pub(super) fn all_have_committed(&self) -> bool {
        self.shared.borrow().committed[..WRITERS].iter().all(|committed| *committed > 0)
    }

    /// How many transactions the writers know to be committed.
    pub(super) fn committed(&self) -> u64 {
        self.shared.borrow().committed.iter().sum()
    }

    pub(super) fn stop(&self) {
        self.shared.borrow_mut().stop = true;
    }

    pub(super) fn all_have_stopped(&self) -> bool {
        self.shared.borrow().ended == WRITERS + READERS
    }

    pub(super) fn histories(&self) -> Vec<History> {
        self.shared.borrow().recorders.iter().map(|recorder| recorder.history().clone()).collect()
    }
}

struct Member {
    number: usize,
    /// Of its recorder: they begin in any order.
    place: usize,
    writes: bool,
    shared: Shared,
    clocks: Clocks,
    trace: Trace,
    chance: Chance,
    written: u64,
}

impl Member {
    async fn live(mut self, client: Client) -> Result<(), String> {
        while !self.shared.borrow().stop {
            match self.attempt(&client).await {
                // What a client must be ready for at any time.
                Ok(())
                | Err(
                    Error::Conflict(_)
                    | Error::Disconnected(_)
                    | Error::HistoryChanged
                    | Error::Unavailable(_)
                    | Error::OutcomeUnknown(_),
                ) => {}
                // The disk has failed under it, and read-write clients are not let go yet.
                Err(Error::Refused(refused)) if refused.is("StorageError") => {}
                Err(error) => return Err(format!("client {} was told: {error}", self.number)),
            }
            let pause = self.chance.millis(0, 300);
            tokio::time::sleep(pause).await;
        }
        self.shared.borrow_mut().ended += 1;
        Ok(())
    }

    async fn attempt(&mut self, client: &Client) -> Result<(), Error> {
        client.connected().await?;
        let snapshot = client.snapshot().await?;
        self.record(|recorder, at| recorder.begin(at, snapshot.before()));
        for _ in 0..READ {
            let oid = Oid::new(self.chance.below(OIDS));
            self.read(&snapshot, oid).await?;
        }
        if !self.writes {
            return Ok(());
        }
        let mut writes: Vec<(Oid, Option<Tid>, Bytes)> = Vec::new();
        for _ in 0..=self.chance.below(2) {
            let oid = Oid::new(self.chance.below(OIDS));
            if writes.iter().all(|(written, ..)| *written != oid) {
                let base = self.read(&snapshot, oid).await?.map(|found| found.serial);
                self.written += 1;
                let mut data = format!("client {} writes {} ", self.number, self.written).into_bytes();
                let length = data.len() + self.chance.below(2_000) as usize;
                data.resize(length, b'.');
                writes.push((oid, base, Bytes::from(data)));
            }
        }
        let mut transaction = client.begin(Metadata::default()).await?;
        for (oid, base, data) in &writes {
            transaction.store(*oid, *base, data);
        }
        let written = writes.iter().map(|(oid, base, data)| (*oid, *base, &data[..]));
        self.record(|recorder, at| recorder.commit(at, written));
        let committed = transaction.commit().await;
        self.trace.note(self.clocks.elapsed(), format_args!("client {}: {committed:?}", self.number));
        self.record(|recorder, at| recorder.outcome(at, &committed));
        committed?;
        self.shared.borrow_mut().committed[self.number] += 1;
        Ok(())
    }

    fn record(&self, what: impl FnOnce(&mut Recorder, Duration)) {
        what(&mut self.shared.borrow_mut().recorders[self.place], self.clocks.elapsed());
    }

    async fn read(&self, snapshot: &Snapshot, oid: Oid) -> Result<Option<Revision>, Error> {
        let found = match snapshot.load(oid).await {
            Err(Error::Refused(refused)) if refused.is("POSKeyError") => None,
            found => found?,
        };
        self.record(|recorder, at| recorder.read(at, oid, found.as_ref()));
        Ok(found)
    }
}
