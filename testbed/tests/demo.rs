//! The demonstration runs to its end, whoever its clients are, and leaves nothing behind when it is given up.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use standby_testbed::poll::{self, PATIENCE};
use standby_testbed::{place, seed};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standby-testbed"));
    command.args(["demo", "--plain"]).args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end, and returns what it has printed.
fn run(arguments: &[&str], python: Option<&Path>) -> Result<String> {
    let mut command = demo(arguments);
    if let Some(python) = python {
        command.env("STANDBY_PYTHON", python);
    }
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{printed}\n{errors}", output.status);
    println!("{}", printed.split_once("What must hold:").context("no summary")?.1);
    ensure!(printed.contains("stale reads found        0"), "{printed}");
    ensure!(!printed.contains("\n  NO "), "{printed}");
    Ok(printed)
}

#[test]
fn the_demonstration_with_stock_clients_holds_what_it_claims() -> Result<()> {
    let printed = run(&["--clients", "stock"], Some(&place::python()?))?;
    ensure!(printed.contains("stock ZEO") && printed.contains("kill -9 of a"), "{printed}");
    Ok(())
}

#[test]
fn the_demonstration_with_the_client_in_rust_holds_what_it_claims() -> Result<()> {
    let printed = run(&["--clients", "rust"], None)?;
    ensure!(printed.contains("the ZEO client in Rust"), "{printed}");
    Ok(())
}

#[test]
fn the_demonstration_begins_with_a_copy_of_a_site_whose_classes_nobody_has() -> Result<()> {
    let Some(archive) = place::real_data("plone-site.tar.xz") else {
        eprintln!("skipped: no site of Plone here");
        return Ok(());
    };
    let folder = place::scratch("demo-site")?;
    let status = Command::new("tar").arg("xJf").arg(archive).arg("-C").arg(folder.path()).status()?;
    ensure!(status.success(), "tar: {status}");
    let site = folder.path().join("plone-site");
    let before = std::fs::read(site.join("Data.fs"))?;
    let printed = run(&["--data", &site.display().to_string()], Some(&place::python()?))?;
    ensure!(printed.contains("14258 objects") && printed.contains("18 blobs"), "{printed}");
    ensure!(std::fs::read(site.join("Data.fs"))? == before, "the original was touched");
    ensure!(!site.join("Data.fs.standby").exists(), "something was put beside the original");
    Ok(())
}

/// Those of its child processes that run.
fn children(of: &Child) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if fields.get(1) == Some(&of.id().to_string().as_str()) {
            found.extend(entry.file_name().to_string_lossy().parse::<i32>());
        }
    }
    Ok(found)
}

/// Starts it, waits for a line, has it end by this signal, and sees that nothing is left.
fn interrupted(arguments: &[&str], line: &str, signal: Signal, status: i32) -> Result<String> {
    let mut demo = demo(arguments).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(demo.stdout.take().context("stdout is piped")?);
    let mut printed = String::new();
    while !printed.contains(line) {
        ensure!(output.read_line(&mut printed)? > 0, "it ended before {line:?}:\n{printed}");
    }
    let nodes = children(&demo)?;
    ensure!(nodes.len() >= 4, "its nodes are its children: {nodes:?}");
    kill_process(Pid::from_raw(i32::try_from(demo.id())?).context("a process")?, signal)?;
    let ended = poll::until("the demonstration to end", PATIENCE, || Ok(demo.try_wait()?))?;
    output.read_to_string(&mut printed)?;
    ensure!(ended.code() == Some(status), "{ended}\n{printed}");
    for node in nodes {
        ensure!(!Path::new(&format!("/proc/{node}")).exists(), "process {node} is left");
    }
    Ok(printed)
}

#[test]
fn a_demonstration_that_is_given_up_leaves_no_process() -> Result<()> {
    let mut chance = seed::Seed::announced();
    let signal = if chance.pick(0..2) == 0 { Signal::INT } else { Signal::TERM };
    let printed = interrupted(&["--clients", "rust"], "clients write", signal, 130)?;
    ensure!(printed.contains("given up"), "{printed}");
    Ok(())
}

#[test]
fn a_cluster_that_is_kept_says_how_to_use_it_and_ends_with_the_demonstration() -> Result<()> {
    let printed = interrupted(&["--clients", "rust", "--keep"], "Ctrl-C stops it", Signal::INT, 0)?;
    for text in ["<zeoclient>", "STANDBY_ADMIN=unix:", "status --watch", "with the same checksum"] {
        ensure!(printed.contains(text), "no {text}:\n{printed}");
    }
    ensure!(printed.contains("stopped, and removed"), "{printed}");
    Ok(())
}

#[test]
fn a_site_that_is_not_there_is_named() -> Result<()> {
    let output = demo(&["--clients", "rust", "--data", "/nowhere/Data.fs"]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}", output.status);
    ensure!(errors.contains("there is no file /nowhere/Data.fs"), "{errors}");
    Ok(())
}
