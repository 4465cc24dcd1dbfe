//! Starts that must fail, with a message that says why and an exit code that is not 0; and stops, with 0.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use standby_testbed::place;
use standby_testbed::rude::Rude;
use standby_testbed::script::Script;
use standby_testbed::server::{Product, Setup};
use zeo_proto::Encoding;

fn setup(data: &Path) -> Result<Setup> {
    Ok(Setup::new(Product::Standby(place::standby_binary()?), data, Encoding::Pickle))
}

/// The server ends by itself, not with 0, and its last words have all of these. It never says that it is ready.
fn refuses(setup: &Setup, words: &[&str]) -> Result<()> {
    let mut server = setup.spawn()?;
    let status = server.wait()?;
    let log = server.log()?;
    ensure!(status.code().is_some_and(|code| code != 0), "ended with {status}:\n{log}");
    ensure!(!log.contains("panicked"), "panicked:\n{log}");
    let last_words = log.lines().last().unwrap_or_default().to_lowercase();
    for word in words {
        ensure!(last_words.contains(&word.to_lowercase()), "{word:?} is not in {last_words:?}");
    }
    ensure!(server.ready().is_err(), "said that it is ready");
    Ok(())
}

#[test]
fn a_file_that_another_standby_serves_is_refused() -> Result<()> {
    let folder = place::scratch("locked")?;
    let data = folder.path().join("Data.fs");
    let mut running = setup(&data)?.start()?;
    // The second writes its logs elsewhere: a link to the same file.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link)?;
    let other = setup(&link.join("Data.fs"))?;
    let log = std::fs::read_to_string(data.with_extension("stderr.log"))?;
    let mut second = other.command()?;
    let output = second.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(said.contains("Data.fs") && said.contains("lock"), "{said}");
    ensure!(!log.contains("panicked"));
    running.server.stop()
}

#[test]
fn a_file_that_zodb_has_open_is_refused_and_one_that_is_served_is_refused_to_zodb() -> Result<()> {
    let folder = place::scratch("zodb-lock")?;
    let data = folder.path().join("Data.fs");
    let path = data.to_str().context("the path is text")?;
    let mut zodb = Script::start("lock.py", ["holds", path])?;
    zodb.hear("held")?;
    refuses(&setup(&data)?, &["Data.fs", "lock"])?;
    zodb.tell("let go")?;
    zodb.end()?;
    let mut running = setup(&data)?.start()?;
    Script::run("lock.py", ["refused", path])?;
    running.server.stop()?;
    // And the lock is free again.
    let mut zodb = Script::start("lock.py", ["holds", path])?;
    zodb.hear("held")?;
    zodb.tell("let go")?;
    zodb.end()?;
    Ok(())
}

#[test]
fn a_file_that_is_no_filestorage_is_refused_and_left_as_it_is() -> Result<()> {
    let folder = place::scratch("not-ours")?;
    for content in [&b"%PDF-1.7 and so on"[..], b"FS2", b"FS31 of times to come", &[0; 100], b"\n"] {
        let data = folder.path().join("Data.fs");
        std::fs::write(&data, content)?;
        refuses(&setup(&data)?, &["Data.fs"])?;
        ensure!(std::fs::read(&data)? == content, "the file was changed");
    }
    Ok(())
}

#[test]
fn a_path_that_cannot_be_a_file_is_refused() -> Result<()> {
    let folder = place::scratch("nowhere")?;
    let data = folder.path().join("Data.fs");
    std::fs::create_dir(&data)?;
    refuses(&setup(&data)?, &["Data.fs"])?;

    let missing = folder.path().join("missing/Data.fs");
    let output = setup(&missing)?.command()?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("missing/Data.fs"), "{}: {said}", output.status);
    ensure!(!folder.path().join("missing").exists(), "a folder was made");

    std::fs::write(folder.path().join("file"), "")?;
    let below_a_file = folder.path().join("file/Data.fs");
    let output = setup(&below_a_file)?.command()?.output()?;
    ensure!(output.status.code() == Some(1), "{}", output.status);
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_refused_by_its_name() -> Result<()> {
    let folder = place::scratch("port")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let mut setup = setup(&folder.path().join("Data.fs"))?;
    setup.port = taken.local_addr()?.port();
    refuses(&setup, &[&format!("127.0.0.1:{}", setup.port), "in use"])
}

#[test]
fn options_that_make_no_sense_are_refused() -> Result<()> {
    let folder = place::scratch("options")?;
    for options in
        [&["--encoding", "json"][..], &["--storage", "1"], &["--transaction-timeout", "-1"], &["--nonsense"]]
    {
        let mut setup = setup(&folder.path().join("Data.fs"))?;
        setup.options = options.iter().map(|&option| option.to_owned()).collect();
        let output = setup.command()?.output()?;
        ensure!(output.status.code() == Some(2), "{options:?}: {}", output.status);
        ensure!(!output.stderr.is_empty(), "{options:?}: no message");
    }
    ensure!(!folder.path().join("Data.fs").exists(), "a file was made");
    Ok(())
}

#[test]
fn sigterm_ends_a_server_with_idle_and_silent_clients_soon() -> Result<()> {
    let folder = place::scratch("stop")?;
    let mut running = setup(&folder.path().join("Data.fs"))?.start()?;
    let _registered = Rude::register(running.address, Encoding::Pickle)?;
    let _greeted = Rude::greet(running.address, Encoding::Msgpack)?;
    let _silent = Rude::connect(running.address, Encoding::Pickle)?;
    let began = Instant::now();
    running.server.stop()?;
    ensure!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    Ok(())
}
