//! Loads and commits per second, on any server that speaks ZEO.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use zeo_proto::client::{Connection, Stream};
use zeo_proto::{Oid, Tid};

use crate::driver::{Committer, LoadPlan, drive_loads};

/// Objects that a transaction writes.
pub(super) const OBJECTS_PER_COMMIT: usize = 10;
/// Length of every record.
pub(super) const RECORD_BYTES: usize = 400;
/// Objects that are loaded: more than fit one connection's window, all warm.
pub(super) const OBJECTS_LOADED: u64 = 10_000;
/// The first of the objects that are committed, apart from those that are loaded.
const FIRST_COMMITTED: u64 = 1 << 32;

/// Runs the driver on a runtime of one thread, so that it takes at most one processor.
pub(super) fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Loads per second over these connections, each with `outstanding` requests in flight.
pub(super) async fn loads_per_second(
    connections: Vec<Stream>,
    plan: &LoadPlan,
    outstanding: usize,
    time: Duration,
) -> Result<f64> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let share = plan.len() / connections.len();
    for (number, mut stream) in connections.into_iter().enumerate() {
        let plan = plan.clone();
        tasks.spawn(
            async move { drive_loads(&mut stream, &plan, number * share, outstanding, Some(time)).await },
        );
    }
    let mut answered = 0;
    while let Some(done) = tasks.join_next().await {
        answered += done??;
    }
    Ok(answered as f64 / began.elapsed().as_secs_f64())
}

/// Registered connections, ready for [`loads_per_second`].
pub(super) async fn registered(address: SocketAddr, count: usize) -> Result<Vec<Stream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(Connection::open(address).await?.into_stream());
    }
    Ok(streams)
}

/// Connections without any handshake, to the bare server.
pub(super) async fn plain(address: SocketAddr, count: usize) -> Result<Vec<Stream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(Stream::Tcp(stream));
    }
    Ok(streams)
}

/// Durable transactions per second of `clients` clients, each on ten objects of its own. `series` keeps the objects of
/// one measurement apart from those of another.
pub(super) async fn commits_per_second(
    address: SocketAddr,
    clients: usize,
    series: u64,
    time: Duration,
) -> Result<f64> {
    let mut committers = Vec::new();
    for client in 0..clients as u64 {
        let first = FIRST_COMMITTED + (series << 20) + client * OBJECTS_PER_COMMIT as u64;
        let oids = (first..first + OBJECTS_PER_COMMIT as u64).map(Oid::new).collect();
        let connection = Connection::open(address).await?;
        let mut committer = Committer::new(connection, client, oids, RECORD_BYTES, Tid::ZERO);
        committer.commit().await.context("creating the objects")?;
        committers.push(committer);
    }
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut committer in committers {
        tasks.spawn(async move {
            let mut committed = 0u64;
            while began.elapsed() < time {
                committer.commit().await?;
                committed += 1;
            }
            anyhow::Ok(committed)
        });
    }
    let mut committed = 0;
    while let Some(done) = tasks.join_next().await {
        committed += done??;
    }
    Ok(committed as f64 / began.elapsed().as_secs_f64())
}
