//! The user's own file: made by ZODB, served and written by us, judged by ZODB and its tools, written by ZODB, served
//! again. `testbed/python/datafile.py` does ZODB's part. With `../shared/data/plone-site.tar.xz` at hand, a real site's
//! file goes the same way.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::{Product, Setup};
use zeo_proto::Encoding;

/// Runs a part of `datafile.py`.
fn zodb(part: &str, arguments: &[&str]) -> Result<()> {
    let said = Script::run("datafile.py", std::iter::once(part).chain(arguments.iter().copied()))?;
    println!("{part}: {said}");
    Ok(())
}

/// `standby verify` finds nothing wrong.
fn verify(data: &Path) -> Result<()> {
    let Product::Standby(binary) = Product::under_test()? else { return Ok(()) };
    let output = Command::new(binary).arg("verify").arg(data).output()?;
    ensure!(output.status.success(), "verify: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// There and back: `data` goes from ZODB to us and back to ZODB and to us.
fn round_trip(data: &Path, encoding: Encoding) -> Result<()> {
    let folder = data.parent().context("the data lies in a folder")?;
    let original = folder.join("original.fs");
    std::fs::copy(data, &original)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("the path is text");
    let (path, original, folder) = (text(data)?, text(&original)?, text(folder)?);
    let setup = Setup::under_test(data, encoding)?;

    // As ZODB made it.
    let mut running = setup.start()?;
    zodb("compare-served", &[&running.address.to_string(), &path, &original])?;
    // Written through the server, also while a backup is made.
    zodb("write-through", &[&running.address.to_string(), "made through the server"])?;
    zodb("live-backup", &[&path, &folder])?;
    running.server.stop()?;
    verify(data)?;
    zodb("tools", &[&path, &folder])?;
    zodb("reads", &[&path])?;

    // Written by ZODB, and served again.
    zodb("zodb-writes", &[&path])?;
    std::fs::copy(&path, &original)?;
    let mut running = setup.start()?;
    zodb("compare-served", &[&running.address.to_string(), &path, &original])?;
    zodb("write-through", &[&running.address.to_string(), "made through the server again"])?;
    running.server.stop()?;
    zodb("tools", &[&path, &folder])?;
    zodb("reads", &[&path])?;
    verify(data)
}

fn generated(encoding: Encoding) -> Result<()> {
    let folder = place::scratch("datafile")?;
    let data = folder.path().join("Data.fs");
    zodb("generate", &[data.to_str().context("the path is text")?])?;
    round_trip(&data, encoding)
}

#[test]
fn a_file_with_everything_that_zodb_writes_goes_there_and_back_with_pickle() -> Result<()> {
    generated(Encoding::Pickle)
}

#[test]
fn a_file_with_everything_that_zodb_writes_goes_there_and_back_with_msgpack() -> Result<()> {
    generated(Encoding::Msgpack)
}

#[test]
fn the_file_of_a_real_site_goes_there_and_back() -> Result<()> {
    let Some(archive) = place::real_data("plone-site.tar.xz") else {
        println!("skipped: no ../shared/data/plone-site.tar.xz");
        return Ok(());
    };
    let folder = place::scratch("site")?;
    let unpacked = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(folder.path()).status();
    ensure!(unpacked.context("tar did not start")?.success(), "tar could not unpack the site; is xz there?");
    round_trip(&folder.path().join("plone-site/Data.fs"), Encoding::Msgpack)
}
