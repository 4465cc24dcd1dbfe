//! The Rust client does the same on the stock server as on ours, in both encodings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_testbed::driver::record;
use standby_testbed::place;
use standby_testbed::poll::PATIENCE;
use standby_testbed::server::{Product, Setup};
use zeo_proto::client::{Backoff, Client, Error, Event, Metadata, Options, calls};
use zeo_proto::{Encoding, Oid, Tid};

#[test]
fn with_pickle_on_the_stock_server() -> Result<()> {
    used(Product::Runzeo(place::python()?), Encoding::Pickle)
}

#[test]
fn with_msgpack_on_the_stock_server() -> Result<()> {
    used(Product::Runzeo(place::python()?), Encoding::Msgpack)
}

#[test]
fn with_pickle_on_ours() -> Result<()> {
    used(Product::Standby(place::standby_binary()?), Encoding::Pickle)
}

#[test]
fn with_msgpack_on_ours() -> Result<()> {
    used(Product::Standby(place::standby_binary()?), Encoding::Msgpack)
}

/// A server's whole life, as two clients see it: the second reads only.
fn used(product: Product, encoding: Encoding) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup {
        port: standby_testbed::server::free_port()?,
        ..Setup::new(product, &folder.path().join("Data.fs"), encoding)
    };
    let mut running = setup.start()?;
    let backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(200) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _within = runtime.enter();
    let writer = Client::start(Options { backoff, ..Options::new([running.address]) });
    let reader = Client::start(Options { backoff, ..Options::read_only([running.address]) });
    let oid = runtime.block_on(async {
        writer.connected().await?;
        let oid = reads_what_others_write(&writer, &reader).await?;
        conflicts_are_told(&writer, oid).await?;
        undoes(&writer, oid).await?;
        asks_for_everything_else(&writer, &reader, oid).await?;
        anyhow::Ok(oid)
    })?;
    running.server.stop()?;
    let again = setup.start()?;
    ensure!(again.address == running.address, "it is found where it was");
    runtime.block_on(comes_back(&writer, &reader, oid))
}

async fn write(client: &Client, oid: Oid, serial: Option<Tid>, seed: u64) -> Result<Tid, Error> {
    let metadata =
        Metadata { user: b"someone".to_vec(), description: format!("{seed}").into(), extension: vec![] };
    let mut transaction = client.begin(metadata).await?;
    transaction.store(oid, serial, &record(200, seed));
    transaction.commit().await
}

/// Waits until a client has heard of a transaction, and was told of it as it should.
async fn heard(client: &Client, events: &mut zeo_proto::client::Events, tid: Tid, oid: Oid) -> Result<()> {
    let told = async {
        loop {
            match events.next().await {
                Some(Event::Invalidated(told)) if told.tid == tid => return Ok(told),
                Some(_) => {}
                None => anyhow::bail!("its events have ended"),
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.context("it is not told")??;
    ensure!(told.oids == [oid] && client.last_tid() >= tid, "{told:?}");
    Ok(())
}

async fn reads_what_others_write(writer: &Client, reader: &Client) -> Result<Oid> {
    reader.connected().await?;
    let mut events = reader.events();
    let oids = writer.new_oids(10).await?;
    ensure!(oids.len() == 10, "{oids:?}");
    let oid = oids[3];
    let first = write(writer, oid, None, 1).await?;
    ensure!(writer.last_tid() == first);
    heard(reader, &mut events, first, oid).await?;
    let then = reader.snapshot().await?;
    let found = then.load(oid).await?.context("it is there")?;
    ensure!((found.serial, found.end) == (first, None) && found.data == record(200, 1));
    let second = write(writer, oid, Some(first), 2).await?;
    heard(reader, &mut events, second, oid).await?;
    let found = then.load(oid).await?.context("it was there")?;
    ensure!((found.serial, found.end) == (first, Some(second)), "a snapshot stays as it is: {found:?}");
    let found = reader.snapshot().await?.load(oid).await?.context("it is there")?;
    ensure!((found.serial, found.end) == (second, None) && found.data == record(200, 2));
    ensure!(reader.load_before(oid, first).await?.is_none(), "there was nothing before");
    let refused = reader.load_before(Oid::new(1 << 60), Tid::MAX).await.err().context("there is none")?;
    ensure!(refused.refused().is_some_and(|refused| refused.is("POSKeyError")), "{refused}");
    // Many at one time, in whatever order they are answered.
    let mut loads = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let reader = reader.clone();
        loads.spawn(async move { reader.load_serial(oid, first).await });
    }
    for data in loads.join_all().await {
        ensure!(data? == record(200, 1));
    }
    Ok(oid)
}

async fn conflicts_are_told(writer: &Client, oid: Oid) -> Result<()> {
    let current = writer.snapshot().await?.load(oid).await?.context("it is there")?.serial;
    let stale = Tid::new(current.get() - 1);
    match write(writer, oid, Some(stale), 3).await {
        Err(Error::Conflict(conflicts)) => {
            ensure!(conflicts.len() == 1 && conflicts[0].oid == oid && conflicts[0].committed == current);
        }
        other => anyhow::bail!("no conflict: {other:?}"),
    }
    let mut transaction = writer.begin(Metadata::default()).await?;
    transaction.check_current(oid, stale);
    match transaction.commit().await {
        Err(Error::Conflict(conflicts)) => ensure!(conflicts[0].oid == oid),
        other => anyhow::bail!("no conflict: {other:?}"),
    }
    // Begun again from what is there.
    write(writer, oid, Some(current), 3).await?;
    Ok(())
}

async fn undoes(writer: &Client, oid: Oid) -> Result<()> {
    let log = writer.ask(calls::undo_log(0, -5)).await?;
    ensure!(log[0].description == b"3" && log[0].user == b"someone", "{log:?}");
    let mut transaction = writer.begin(Metadata::default()).await?;
    transaction.undo(&log[0].id);
    let vote = transaction.vote().await?;
    ensure!(vote.conflicts.is_empty() && vote.changed == [oid], "{vote:?}");
    let tid = transaction.finish().await?;
    let found = writer.snapshot().await?.load(oid).await?.context("it is there")?;
    ensure!(found.serial == tid && found.data == record(200, 2), "{found:?}");
    Ok(())
}

async fn asks_for_everything_else(writer: &Client, reader: &Client, oid: Oid) -> Result<()> {
    let last = writer.ask(calls::last_transaction()).await?;
    ensure!(last == writer.last_tid() && writer.ask(calls::serial_of(oid)).await? == last);
    let told = writer.ask(calls::invalidations(Tid::new(last.get() - 1))).await?.context("it knows")?;
    ensure!((told.tid, &told.oids[..]) == (last, &[oid][..]), "{told:?}");
    let (first, _, _, next) = writer.ask(calls::next_object(None)).await?;
    ensure!(first == oid && next.is_none());
    ensure!(writer.ask(calls::history(oid, 10)).await?.as_sequence().is_some_and(|all| all.len() == 4));
    ensure!(writer.ask(calls::info()).await?.item("supportsUndo").is_some());
    ensure!(writer.ask(calls::server_status()).await?.item("connections").is_some());
    reader.ask(calls::ping()).await?;
    let refused = reader.new_oids(1).await.err().context("it reads only")?;
    ensure!(refused.refused().is_some_and(|refused| refused.is("ReadOnlyError")), "{refused}");
    Ok(())
}

/// The server was restarted.
async fn comes_back(writer: &Client, reader: &Client, oid: Oid) -> Result<()> {
    let seen = reader.last_tid();
    let known = reader.snapshot().await?.load(oid).await?.context("it is there")?;
    let tid = tokio::time::timeout(PATIENCE, async {
        loop {
            let current = writer.snapshot().await?.load(oid).await?.context("it is there")?.serial;
            match write(writer, oid, Some(current), 9).await {
                Err(Error::Disconnected(_)) => {}
                done => return anyhow::Ok(done?),
            }
        }
    });
    let tid = tid.await.context("it does not come back")??;
    tokio::time::timeout(PATIENCE, async {
        while reader.last_tid() < tid {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .context("the reader does not come back")?;
    ensure!(seen < tid);
    let found = reader.snapshot().await?.load(oid).await?.context("it is there")?;
    ensure!(known.serial < tid && found.serial == tid && found.data == record(200, 9));
    Ok(())
}
