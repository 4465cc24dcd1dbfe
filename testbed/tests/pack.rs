//! Packs held against ZODB's own, record by record and blob by blob. `testbed/python/pack.py` makes the databases.
//!
//! `STANDBY_PACK_SEEDS` says how many databases (4); the first seed is `STANDBY_PACK_SEED` (1).

use anyhow::{Context, Result, bail, ensure};
use standby_testbed::datafile::DataFile;
use standby_testbed::driver::record;
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::Setup;
use zeo_proto::client::Connection;
use zeo_proto::{Encoding, Oid, Value};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn packs_like_zodb(seed: u64, given: &[&str]) -> Result<()> {
    let folder = place::scratch("pack")?;
    let standby = place::standby_binary()?;
    let seed = seed.to_string();
    let mut arguments = vec![
        standby.to_str().context("the binary's path is text")?,
        folder.path().to_str().context("the folder's name is text")?,
        &seed,
    ];
    arguments.extend(given);
    println!(
        "STANDBY_PACK_SEED={seed} STANDBY_PACK_SEEDS=1 replays this: {}",
        Script::run("pack.py", arguments)?
    );
    Ok(())
}

#[test]
fn a_pack_keeps_what_zodbs_keeps() -> Result<()> {
    let first = number("STANDBY_PACK_SEED", 1);
    (first..first + number("STANDBY_PACK_SEEDS", 4)).try_for_each(|seed| {
        packs_like_zodb(seed, &[]).with_context(|| format!("STANDBY_PACK_SEED={seed} STANDBY_PACK_SEEDS=1"))
    })
}

/// A server says in its status how far a pack is, in a key that the stock server does not have.
#[test]
fn a_pack_under_way_is_seen_in_the_status_of_the_server() -> Result<()> {
    let folder = place::scratch("pack-status")?;
    let data = folder.path().join("Data.fs");
    let mut file = DataFile::create(&data)?;
    for number in 0..100 {
        file.transaction((0..1000).map(|oid| (Oid::new(oid), record(400, oid + number))))?;
    }
    file.finish()?;
    let mut running = Setup::under_test(&data, Encoding::Msgpack)?.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = running.address;
    let seen = runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        ensure!(pack_status(&mut connection).await?.is_none(), "nothing is packed yet");
        let pack = tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            connection.call("pack", &[Value::Float(1e10), Value::Bool(true)]).await
        });
        let mut seen = Vec::new();
        while !pack.is_finished() {
            seen.extend(pack_status(&mut connection).await?);
        }
        pack.await??;
        ensure!(pack_status(&mut connection).await?.is_none(), "the pack is over");
        Ok(seen)
    })?;
    ensure!(!seen.is_empty(), "the status never had the pack");
    ensure!(seen.iter().all(|(_, percent)| (0.0..=100.0).contains(percent)), "{seen:?}");
    ensure!(seen.iter().any(|(phase, _)| phase == "reading"), "{seen:?}");
    running.server.stop()
}

/// Phase and percentage.
async fn pack_status(connection: &mut Connection) -> Result<Option<(String, f64)>> {
    let status = connection.call("server_status", &[]).await?;
    let Value::Dict(status) = status else { bail!("{status:?}") };
    let Some((_, pack)) = status.iter().find(|(key, _)| *key == Value::from("pack")) else { return Ok(None) };
    match pack {
        Value::Dict(items) => match &items[..] {
            [(_, Value::Str(phase)), (_, Value::Float(percent))] => Ok(Some((phase.to_string(), *percent))),
            other => bail!("{other:?}"),
        },
        other => bail!("{other:?}"),
    }
}

/// The Plone site of the shared folder, where it is.
#[test]
fn a_real_site_packs_as_with_zodb() -> Result<()> {
    let Some(archive) = place::real_data("plone-site.tar.xz") else {
        println!("skipped: no ../shared/data/plone-site.tar.xz");
        return Ok(());
    };
    let folder = place::scratch("plone")?;
    let unpacked =
        std::process::Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(archive).status()?;
    anyhow::ensure!(unpacked.success(), "tar failed");
    let (data, blobs) = (folder.path().join("plone-site/Data.fs"), folder.path().join("plone-site/blobs"));
    packs_like_zodb(0, &[data.to_str().context("text")?, blobs.to_str().context("text")?])
}
