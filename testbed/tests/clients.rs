//! Who is connected: what `server_status` says of each client, and what becomes of those beyond the limit.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use standby_testbed::rude::Rude;
use standby_testbed::script::Script;
use standby_testbed::server::{Product, Running, Setup};
use standby_testbed::{place, poll};
use zeo_proto::Encoding;

fn start(folder: &std::path::Path, encoding: Encoding, options: &[&str]) -> Result<Running> {
    let product = Product::Standby(place::standby_binary()?);
    let mut setup = Setup::new(product, &folder.join("Data.fs"), encoding);
    setup.options = options.iter().map(|&option| option.to_owned()).collect();
    setup.start()
}

fn status_of_each_client(encoding: Encoding) -> Result<()> {
    let folder = place::scratch("clients")?;
    let mut running = start(folder.path(), encoding, &[])?;
    println!("{}", Script::run("clients.py", ["counts", &running.address.to_string()])?);
    running.server.stop()
}

#[test]
fn the_status_says_with_pickle_what_each_client_has_done() -> Result<()> {
    status_of_each_client(Encoding::Pickle)
}

#[test]
fn the_status_says_with_msgpack_what_each_client_has_done() -> Result<()> {
    status_of_each_client(Encoding::Msgpack)
}

#[test]
fn the_status_says_how_much_waits_for_a_client_that_does_not_read() -> Result<()> {
    let folder = place::scratch("queued")?;
    let mut running = start(folder.path(), Encoding::Pickle, &[])?;
    println!("{}", Script::run("clients.py", ["queued", &running.address.to_string()])?);
    running.server.stop()
}

#[test]
fn clients_beyond_the_limit_are_refused_and_logged_and_cost_nothing() -> Result<()> {
    let folder = place::scratch("limit")?;
    let mut running = start(folder.path(), Encoding::Msgpack, &["--max-connections", "3"])?;
    let address = running.address;
    let _silent = Rude::connect(address, Encoding::Msgpack)?;
    let _greeted = Rude::greet(address, Encoding::Msgpack)?;
    let last = Rude::register(address, Encoding::Msgpack)?;

    let mut refused = Rude::connect(address, Encoding::Msgpack)?;
    let from = refused.stream().local_addr()?.to_string();
    ensure!(refused.stream().read(&mut [0; 100])? == 0, "a client beyond the limit is greeted");
    let log = running.server.log()?;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("refused a connection")).collect();
    let [line] = lines[..] else { anyhow::bail!("{log}") };
    ensure!(line.contains("WARN") && line.contains(&from) && line.contains("limit=3"), "{line}");

    // A crowd neither fills the log nor takes memory.
    let before = running.server.resident_bytes()?;
    for _ in 0..500 {
        let mut refused = Rude::connect(address, Encoding::Msgpack)?;
        // Closed, one way or the other.
        ensure!(refused.stream().read(&mut [0; 1]).unwrap_or(0) == 0, "a client beyond the limit is greeted");
    }
    let grown = running.server.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 8 << 20, "the server grew by {grown} bytes");
    let log = running.server.log()?;
    let lines = log.lines().filter(|line| line.contains("refused a connection")).count();
    ensure!(lines < 100, "{lines} lines for 501 refusals");

    // A place that is given back is taken.
    drop(last);
    poll::until("a place to be free", poll::PATIENCE, || Ok(Rude::register(address, Encoding::Msgpack).ok()))
        .context("the next client")?;
    running.server.stop()
}
