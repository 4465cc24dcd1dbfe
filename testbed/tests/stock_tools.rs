//! The tools that come with stock ZEO, as operators have them in their crontabs and monitoring: `zeopack` and
//! `zeo-nagios`, as they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::Setup;
use zeo_proto::Encoding;

fn tool(name: &str, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(place::stock_tool(name)?).args(arguments).output()?)
}

/// Runs `zeo-nagios`, which has to end with this status. Returns what it printed.
fn nagios(status: i32, arguments: &[&str]) -> Result<String> {
    let output = tool("zeo-nagios", arguments)?;
    ensure!(output.status.code() == Some(status), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The metrics in the output of a Nagios plugin: `MESSAGE|name=value`, `| name=value`, ` name=value`.
fn metrics(output: &str) -> Result<BTreeMap<String, f64>> {
    let items = output.lines().filter_map(|line| line.rsplit('|').next()).filter(|item| item.contains('='));
    items
        .map(|item| {
            let (name, value) = item.trim().rsplit_once('=').context("no =")?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

/// A path that fits into the address of a Unix socket, whatever the length of the build folder's.
fn socket_folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("standby-").tempdir()?)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is text")
}

#[test]
fn zeo_nagios_says_whether_the_server_is_well() -> Result<()> {
    let folder = place::scratch("nagios")?;
    let mut running = Setup::under_test(&folder.path().join("Data.fs"), Encoding::Pickle)?.start()?;
    let address = running.address.to_string();
    let address = address.as_str();
    ensure!(nagios(1, &[address])?.trim() == "Empty storage '1'");
    Script::run("revisions.py", ["commit", address])?;
    ensure!(nagios(0, &[address])?.trim() == "OK");
    running.server.stop()?;
    ensure!(nagios(2, &[address])?.contains("Can't connect"));
    Ok(())
}

#[test]
fn zeo_nagios_has_metrics_and_rates_of_the_server() -> Result<()> {
    let folder = place::scratch("nagios-metrics")?;
    let status = folder.path().join("status.json");
    let mut running = Setup::under_test(&folder.path().join("Data.fs"), Encoding::Msgpack)?.start()?;
    let address = running.address.to_string();
    let address = address.as_str();
    Script::run("revisions.py", ["commit", address])?;

    let plain = nagios(0, &["--output-metrics", address])?;
    ensure!(plain.starts_with("OK|active_txns=0"), "{plain}");
    let names: Vec<String> = metrics(&plain)?.into_keys().collect();
    ensure!(names == ["active_txns", "connections", "waiting"], "{plain}");

    // Rates are differences to what the status file has from the last time.
    let with_rates = ["--output-metrics", "--status-path", text(&status), "--time-units", "days", address];
    ensure!(!metrics(&nagios(0, &with_rates)?)?.contains_key("commits"), "nothing to compare with yet");
    ensure!(std::fs::metadata(&status)?.len() > 0, "no status file");
    Script::run("revisions.py", ["commit", address])?;
    let rates = nagios(0, &with_rates)?;
    let found = metrics(&rates)?;
    for name in ["commits", "stores", "loads"] {
        ensure!(found.get(name).is_some_and(|rate| *rate > 0.0), "{name}: {rates}");
    }
    for name in ["aborts", "conflicts", "conflicts_resolved"] {
        ensure!(found.get(name) == Some(&0.0), "{name}: {rates}");
    }
    running.server.stop()
}

#[test]
fn zeo_nagios_asks_through_a_unix_socket() -> Result<()> {
    let (folder, sockets) = (place::scratch("nagios-unix")?, socket_folder()?);
    let socket = sockets.path().join("zeo.sock");
    let mut setup = Setup::under_test(&folder.path().join("Data.fs"), Encoding::Pickle)?;
    setup.socket = Some(socket.clone());
    let mut server = setup.start_on_socket()?;
    Script::run("revisions.py", ["commit", text(&socket)])?;
    let said = nagios(0, &["--output-metrics", text(&socket)])?;
    ensure!(metrics(&said)?.len() == 3, "{said}");
    server.stop()
}

/// Runs `zeopack` on a server that has something to pack, and looks at what is left.
fn zeopack_packs(client: &str, arguments: &[&str]) -> Result<()> {
    Script::run("revisions.py", ["commit", client])?;
    let mut keeping = vec!["-d", "1"];
    keeping.extend(arguments);
    for (arguments, leaves) in [(&keeping[..], "all-there"), (arguments, "packed")] {
        let output = tool("zeopack", arguments)?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        Script::run("revisions.py", [leaves, client]).with_context(|| format!("zeopack {arguments:?}"))?;
    }
    Ok(())
}

#[test]
fn zeopack_packs_over_tcp() -> Result<()> {
    let folder = place::scratch("zeopack")?;
    let mut running = Setup::under_test(&folder.path().join("Data.fs"), Encoding::Pickle)?.start()?;
    let (address, port) = (running.address.to_string(), running.address.port().to_string());
    zeopack_packs(&address, &[&address])?;
    zeopack_packs(&address, &[&format!("{address}:1")])?;
    zeopack_packs(&address, &["-h", "127.0.0.1", "-p", &port, "-S", "1"])?;
    running.server.stop()
}

#[test]
fn zeopack_packs_over_a_unix_socket() -> Result<()> {
    let (folder, sockets) = (place::scratch("zeopack-unix")?, socket_folder()?);
    let socket = sockets.path().join("zeo.sock");
    let mut setup = Setup::under_test(&folder.path().join("Data.fs"), Encoding::Msgpack)?;
    setup.socket = Some(socket.clone());
    let mut server = setup.start_on_socket()?;
    zeopack_packs(text(&socket), &["-u", text(&socket)])?;
    zeopack_packs(text(&socket), &["-u", &format!("{}:1", text(&socket))])?;
    server.stop()
}
