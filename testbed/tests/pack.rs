//! Packs held against ZODB's own, record by record and blob by blob. `testbed/python/pack.py` makes the databases.
//!
//! `STANDBY_PACK_SEEDS` says how many databases (4); the first seed is `STANDBY_PACK_SEED` (1).

use anyhow::{Context, Result};
use standby_testbed::place;
use standby_testbed::script::Script;

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
