//! Blobs that are larger than the server's memory, more than it may have open files, or left half-way.
//!
//! `STANDBY_BLOB_MB` says how large the large one is, in MiB (64). The server may have 200 MB of memory, so 2048 is the
//! long form; it takes three times that on the disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::Resource;
use standby_testbed::rude::{Reaction, Rude};
use standby_testbed::script::Script;
use standby_testbed::server::{Running, Setup, free_port};
use standby_testbed::{place, poll};
use zeo_proto::{Encoding, Value};

/// All the memory that the server may ask for: its data, the threads' stacks included (`RLIMIT_DATA`).
const MEMORY_BYTES: u64 = 200_000_000;
/// What blobs on their way may add to the memory that is resident, whatever their size.
const GROWTH_BYTES: u64 = 24_000_000;

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is text")
}

fn setup(folder: &Path, encoding: Encoding) -> Result<Setup> {
    let mut setup = Setup::under_test(&folder.join("Data.fs"), encoding)?;
    setup.blobs = Some(folder.join("blobs"));
    Ok(setup)
}

fn a_large_blob_passes(encoding: Encoding) -> Result<()> {
    let mib: u64 = match std::env::var("STANDBY_BLOB_MB") {
        Ok(mib) => mib.parse().context("STANDBY_BLOB_MB")?,
        Err(_) => 64,
    };
    let folder = place::scratch("large-blob")?;
    let mut running = setup(folder.path(), encoding)?.start()?;
    running.server.limit(Resource::Data, MEMORY_BYTES)?;
    let before = running.server.resident_bytes()?;
    let (address, size) = (running.address.to_string(), (mib << 20).to_string());
    let shared = format!("shared:{}", text(&folder.path().join("blobs")));
    // Streamed both ways, and through the directory both ways.
    for (name, up, down) in [("streamed", "up", "down"), ("shared", shared.as_str(), shared.as_str())] {
        let own = |name: &str| match name.starts_with("shared:") {
            true => Ok(name.to_owned()),
            false => {
                let cache = folder.path().join(name);
                std::fs::create_dir(&cache)?;
                anyhow::Ok(text(&cache).to_owned())
            }
        };
        let said = Script::run(
            "blobs.py",
            ["passes", &address, name, own(up)?.as_str(), own(down)?.as_str(), &size],
        )?;
        println!("{said}");
        for cache in ["up", "down"] {
            let _ = std::fs::remove_dir_all(folder.path().join(cache)); // room on the disk
        }
    }
    let peak = running.server.peak_resident_bytes()?;
    println!("resident before {before}, at most {peak} bytes");
    ensure!(peak < before + GROWTH_BYTES, "{before} bytes were resident before, {peak} at most");
    running.server.stop()
}

#[test]
fn a_blob_larger_than_the_memory_passes_up_and_down_with_pickle() -> Result<()> {
    a_large_blob_passes(Encoding::Pickle)
}

#[test]
fn a_blob_larger_than_the_memory_passes_up_and_down_with_msgpack() -> Result<()> {
    a_large_blob_passes(Encoding::Msgpack)
}

#[test]
fn a_transaction_can_have_more_blobs_than_the_server_may_have_open_files() -> Result<()> {
    let folder = place::scratch("many-blobs")?;
    let mut running = setup(folder.path(), Encoding::Msgpack)?.start()?;
    running.server.limit(Resource::Nofile, 100)?;
    let cache = folder.path().join("cache");
    Script::run("blobs.py", ["many", &running.address.to_string(), text(&cache), "500"])?;
    running.server.stop()
}

/// How far a client has come with a blob when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    /// Chunks were sent, the last was not.
    Midway,
    /// The blob belongs to a transaction.
    Whole,
    /// The transaction was voted through.
    Voted,
    /// A file in the shared directory belongs to a transaction.
    Shared,
    /// That transaction was voted through.
    SharedAndVoted,
}

const POINTS: [Point; 5] = [Point::Midway, Point::Whole, Point::Voted, Point::Shared, Point::SharedAndVoted];
const CHUNKS: usize = 60;
const CHUNK_BYTES: usize = 59_000;

/// Every file below the blob directory, its marker apart.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if !path.ends_with(".layout") {
            files.push(path);
        }
    }
    Ok(files)
}

/// A client that has come so far with a blob.
fn client_at(point: Point, running: &Running, blobs: &Path) -> Result<Rude> {
    let mut client = Rude::register(running.address, Encoding::Msgpack)?;
    let (empty, id) = (Value::from(&b""[..]), Value::Int(1));
    let beginning =
        [id.clone(), empty.clone(), empty, Value::Dict(Vec::new()), Value::None, Value::from(" ")];
    client.post("tpc_begin", &beginning)?;
    let (oid, serial, data) =
        (Value::from(&[1; 8][..]), Value::from(&[0; 8][..]), Value::from(&b"record"[..]));
    if matches!(point, Point::Shared | Point::SharedAndVoted) {
        let directory = blobs.join("0x01/0x01/0x01/0x01/0x01/0x01/0x01/0x01");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("BUSHY1.tmp-"), "content")?;
        client.post("storeBlobShared", &[oid, serial, data, Value::from("BUSHY1.tmp-"), id.clone()])?;
    } else {
        client.post("storeBlobStart", &[])?;
        for _ in 0..CHUNKS {
            client.post("storeBlobChunk", &[Value::from(&[7; CHUNK_BYTES][..])])?;
        }
        if point != Point::Midway {
            client.post("storeBlobEnd", &[oid, serial, data, id.clone()])?;
        }
    }
    if matches!(point, Point::Voted | Point::SharedAndVoted) {
        let reaction = client.call("vote", &[id])?;
        ensure!(matches!(reaction, Reaction::Returned(_)), "{reaction:?}");
    } else {
        // Answered in turn: everything before has been taken.
        client.call("ping", &[])?;
    }
    ensure!(!files(blobs)?.is_empty(), "{point:?}: no file to be cleaned up");
    Ok(client)
}

fn cleaned_up(point: Point, blobs: &Path) -> Result<()> {
    poll::until("the files of the blob to go", poll::PATIENCE, || Ok(files(blobs)?.is_empty().then_some(())))
        .with_context(|| format!("{point:?}: {:?}", files(blobs)))
}

#[test]
fn a_disconnect_at_any_point_leaves_no_file_of_a_blob() -> Result<()> {
    let folder = place::scratch("blob-disconnect")?;
    let blobs = folder.path().join("blobs");
    let mut running = setup(folder.path(), Encoding::Msgpack)?.start()?;
    for point in POINTS {
        drop(client_at(point, &running, &blobs)?);
        cleaned_up(point, &blobs)?;
    }
    running.server.stop()
}

#[test]
fn an_abort_at_any_point_leaves_no_file_of_a_blob_and_the_client_goes_on() -> Result<()> {
    let folder = place::scratch("blob-abort")?;
    let blobs = folder.path().join("blobs");
    let mut running = setup(folder.path(), Encoding::Msgpack)?.start()?;
    for point in POINTS {
        let mut client = client_at(point, &running, &blobs)?;
        client.call("tpc_abort", &[Value::Int(1)])?;
        cleaned_up(point, &blobs)?;
        let reaction = client.call("storeBlobStart", &[])?;
        ensure!(reaction == Reaction::Returned(Value::None), "{point:?}: {reaction:?}");
    }
    running.server.stop()
}

#[test]
fn a_crash_at_any_point_leaves_no_file_of_a_blob_after_the_next_start() -> Result<()> {
    let folder = place::scratch("blob-crash")?;
    let blobs = folder.path().join("blobs");
    let mut setup = setup(folder.path(), Encoding::Msgpack)?;
    setup.port = free_port()?;
    let mut running = setup.start()?;
    for point in POINTS {
        let client = client_at(point, &running, &blobs)?;
        running.server.kill()?;
        drop(client);
        ensure!(!files(&blobs)?.is_empty(), "{point:?}: nothing was left by the crash");
        running = setup.start()?;
        cleaned_up(point, &blobs)?;
    }
    running.server.stop()
}
