//! `standby dump`, `verify` and `pack` as an operator or a script runs them: what they print, and what they end with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use standby_testbed::datafile::DataFile;
use standby_testbed::driver::record;
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::{Product, Setup};
use zeo_proto::{Encoding, Oid};

fn standby<'a>(arguments: impl IntoIterator<Item = &'a str>, path: &Path) -> Result<Output> {
    let mut command = Command::new(place::standby_binary()?);
    let mut arguments = arguments.into_iter();
    command.args(arguments.next()).arg(path).args(arguments);
    Ok(command.stdin(Stdio::null()).output()?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is text")
}

/// What was printed, if the command ended with this code.
fn ended(output: &Output, code: i32) -> Result<String> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(code), "{}, not {code}\n{out}\n{err}", output.status);
    ensure!(!err.contains("panicked"), "{err}");
    Ok(out.into_owned())
}

/// The command fails with this code, prints no result, and its one line of complaint has all of these words.
fn fails(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let out = ended(output, code)?;
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(out.is_empty(), "{out}");
    let complaint = err.lines().next().context("no complaint")?;
    for word in words {
        ensure!(complaint.contains(word), "{word:?} is not in {complaint:?}");
    }
    Ok(())
}

fn json_lines(printed: &str) -> Result<Vec<Json>> {
    printed.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Three transactions of ten objects.
fn small_file(folder: &Path) -> Result<PathBuf> {
    let data = folder.join("Data.fs");
    let mut file = DataFile::create(&data)?;
    for _ in 0..3 {
        file.transaction((0..10).map(|oid| (Oid::new(oid), record(100, oid))))?;
    }
    file.finish()?;
    Ok(data)
}

/// Lists the file, and lets ZODB judge the list.
fn lists_like_fsdump(data: &Path) -> Result<()> {
    let listing = data.with_extension("json");
    std::fs::write(&listing, ended(&standby(["dump", "--json"], data)?, 0)?)?;
    println!("{}", Script::run("dump.py", ["compare", text(data)?, text(&listing)?])?);
    Ok(())
}

#[test]
fn a_file_of_zodb_is_listed_as_by_fsdump() -> Result<()> {
    let folder = place::scratch("dump")?;
    let data = folder.path().join("Data.fs");
    Script::run("datafile.py", ["generate", text(&data)?])?;
    lists_like_fsdump(&data)?;
    let blobs = folder.path().join("blobs");
    let with_blobs = folder.path().join("blobs.fs");
    Script::run("dump.py", ["with-blobs", text(&with_blobs)?, text(&blobs)?])?;
    lists_like_fsdump(&with_blobs)?;
    let listed = json_lines(&ended(&standby(["dump", "--json"], &with_blobs)?, 0)?)?;
    let records = listed.iter().flat_map(|transaction| transaction["records"].as_array()).flatten();
    ensure!(records.clone().any(|record| record["blob"] == true), "a blob");
    ensure!(records.clone().any(|record| record["data_tid"].is_string()), "a back pointer");
    ensure!(listed.iter().any(|transaction| transaction["status"] == "packed"), "a packed transaction");
    Ok(())
}

#[test]
fn the_file_of_a_real_site_is_listed_as_by_fsdump() -> Result<()> {
    let Some(archive) = place::real_data("plone-site.tar.xz") else {
        println!("skipped: no ../shared/data/plone-site.tar.xz");
        return Ok(());
    };
    let folder = place::scratch("dump-site")?;
    let unpacked = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(folder.path()).status();
    ensure!(unpacked.context("tar did not start")?.success(), "tar could not unpack the site; is xz there?");
    lists_like_fsdump(&folder.path().join("plone-site/Data.fs"))
}

#[test]
fn a_part_of_a_file_is_listed_also_while_it_is_served() -> Result<()> {
    let folder = place::scratch("dump-part")?;
    let data = small_file(folder.path())?;
    let mut running =
        Setup::new(Product::Standby(place::standby_binary()?), &data, Encoding::Msgpack).start()?;
    let listed = |arguments: &[&str]| -> Result<Vec<Json>> {
        let all = ["dump", "--json"].into_iter().chain(arguments.iter().copied());
        json_lines(&ended(&standby(all, &data)?, 0)?)
    };
    let all = listed(&[])?;
    ensure!(
        all.len() == 3
            && all.iter().all(|transaction| transaction["records"].as_array().is_some_and(|r| r.len() == 10))
    );
    let tids: Vec<&str> = all.iter().filter_map(|transaction| transaction["tid"].as_str()).collect();
    ensure!(listed(&["--last", "1"])? == all[2..]);
    ensure!(listed(&["--from", tids[1]])? == all[1..]);
    ensure!(listed(&["--to", tids[1]])? == all[..2]);
    let time = all[1]["time"].as_str().context("a time")?;
    ensure!(listed(&["--from", time])?.contains(&all[1]), "a time is not after its transaction");
    ensure!(listed(&["--from", "2000-01-01", "--to", "2001-01-01T00:00:00Z"])?.is_empty());
    let of_one = listed(&["--oid", "0x7", "--last", "2"])?;
    let oids = of_one.iter().map(|transaction| transaction["records"][0]["oid"].as_str());
    ensure!(oids.eq([Some("0x7"), Some("0x7")]), "{of_one:?}");

    // And the same for people.
    let shown = ended(&standby(["dump", "--last", "1"], &data)?, 0)?;
    ensure!(shown.starts_with(tids[2]) && shown.lines().count() == 11, "{shown}");
    let verified = json_lines(&ended(&standby(["verify", "--json"], &data)?, 0)?)?;
    ensure!(verified[0]["transactions"] == 3 && verified[0]["index"]["skipped"].is_string(), "{verified:?}");
    running.server.stop()
}

#[test]
fn a_reader_that_has_seen_enough_of_a_list_ends_it() -> Result<()> {
    let folder = place::scratch("dump-head")?;
    let data = folder.path().join("Data.fs");
    let mut file = DataFile::create(&data)?;
    for _ in 0..1000 {
        file.transaction((0..10).map(|oid| (Oid::new(oid), record(100, oid))))?;
    }
    file.finish()?;
    let mut command = Command::new(place::standby_binary()?);
    let mut child = command.arg("dump").arg(&data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn an_unfinished_end_and_damage_are_told_and_end_with_three() -> Result<()> {
    let folder = place::scratch("not-whole")?;
    let data = small_file(folder.path())?;
    let whole = std::fs::read(&data)?;
    std::fs::write(&data, &whole[..whole.len() - 100])?;
    let output = standby(["dump", "--json"], &data)?;
    ensure!(json_lines(&ended(&output, 3)?)?.len() == 2);
    ensure!(String::from_utf8_lossy(&output.stderr).contains("an unfinished transaction"), "{output:?}");
    let verified = json_lines(&ended(&standby(["verify", "--json"], &data)?, 3)?)?;
    ensure!(verified[0]["whole"] == false && verified[0]["transactions"] == 2, "{verified:?}");
    ensure!(verified[0]["unfinished_bytes"].as_u64() > Some(0), "{verified:?}");

    let mut damaged = whole.clone();
    damaged[4 + 16] = b'x'; // the status of the first transaction
    std::fs::write(&data, damaged)?;
    let output = standby(["dump"], &data)?;
    ensure!(ended(&output, 3)?.is_empty());
    ensure!(String::from_utf8_lossy(&output.stderr).contains("damaged at position 4"), "{output:?}");
    let verified = json_lines(&ended(&standby(["verify", "--json"], &data)?, 3)?)?;
    ensure!(verified[0]["problems"][0]["position"] == 4, "{verified:?}");
    let output = standby(["verify"], &data)?;
    ensure!(ended(&output, 3)?.contains("at 4: the transaction's status"), "{output:?}");
    fails(&standby(["pack", "--json"], &data)?, 1, &["Data.fs", "damaged at position 4", "standby verify"])?;
    ensure!(
        ended(&standby(["dump", "--last", "1", "--json"], &data)?, 0)?.lines().count() == 1,
        "the end is whole"
    );
    Ok(())
}

#[test]
fn bad_input_is_refused_by_its_name() -> Result<()> {
    let folder = place::scratch("bad-input")?;
    let (missing, other) = (folder.path().join("missing.fs"), folder.path().join("other.fs"));
    std::fs::write(&other, "SQLite format 3")?;
    for tool in ["dump", "verify", "pack"] {
        fails(&standby([tool, "--json"], &missing)?, 1, &["missing.fs", "does not exist"])?;
        fails(&standby([tool], &other)?, 1, &["other.fs", "not a FileStorage"])?;
        fails(&standby([tool], folder.path())?, 1, &["directory"])?;
    }
    ensure!(!folder.path().join("missing.fs.lock").exists(), "a lock beside nothing");
    let data = small_file(folder.path())?;
    for (option, value) in
        [("--from", "03f9"), ("--to", "yesterday"), ("--oid", "x"), ("--last", "0"), ("--last", "-1")]
    {
        let given = format!("{option}={value}");
        fails(&standby(["dump", &given], &data)?, 2, &[option, value])?;
    }
    fails(&standby(["dump", "--from", "2026-02-02", "--to", "2026-01-01"], &data)?, 1, &["--from", "after"])?;
    fails(&standby(["pack", "--before=soon"], &data)?, 2, &["--before", "soon"])?;
    fails(&standby(["pack", "--days=-1"], &data)?, 1, &["--days"])?;
    let mut running =
        Setup::new(Product::Standby(place::standby_binary()?), &data, Encoding::Msgpack).start()?;
    fails(&standby(["pack", "--json"], &data)?, 1, &["Data.fs", "locked by process"])?;
    running.server.stop()
}

#[test]
fn a_pack_says_what_it_did() -> Result<()> {
    let folder = place::scratch("pack-json")?;
    let data = small_file(folder.path())?;
    let packed = json_lines(&ended(&standby(["pack", "--json", "--no-gc"], &data)?, 0)?)?;
    ensure!(
        packed[0]["packed"]["records_removed"] == 20 && packed[0]["packed"]["objects_after"] == 10,
        "{packed:?}"
    );
    let again = json_lines(&ended(&standby(["pack", "--json", "--no-gc"], &data)?, 0)?)?;
    ensure!(again[0]["packed"].is_null(), "{again:?}");
    ensure!(ended(&standby(["verify"], &data)?, 0)?.contains("10 objects"));
    Ok(())
}
