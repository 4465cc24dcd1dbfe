//! Clients that do not play by the rules: each gets a clear error or a closed connection, costs little memory, and
//! harms nobody else.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use standby_testbed::driver::{Committer, record};
use standby_testbed::place;
use standby_testbed::rude::{Reaction, Rude};
use standby_testbed::seed::Seed;
use standby_testbed::server::{Running, Setup};
use zeo_proto::client::Connection;
use zeo_proto::client_side::{encode_call, encode_load};
use zeo_proto::{Encoding, MsgId, Oid, Tid, Value, frame};

const ENCODINGS: [Encoding; 2] = [Encoding::Pickle, Encoding::Msgpack];
const MIB: u64 = 1 << 20;

fn start(folder: &Path) -> Result<Running> {
    Setup::under_test(&folder.join("Data.fs"), Encoding::Msgpack)?.start()
}

/// Others are served: somebody connects, commits and reads.
fn others_are_served(address: SocketAddr, name: u64) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let connection = Connection::open(address).await?;
        let oids = (0..3).map(|place| Oid::new((name << 16) + place)).collect();
        let mut committer = Committer::new(connection, name, oids, 200, Tid::ZERO);
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_secs(20), committer.commit())
                .await
                .context("no commit in 20 s")??;
        }
        Ok(())
    })
}

/// Runs `attack`, then checks that the server has not grown by more than `growth`, lives, and serves others.
fn unharmed(
    running: &mut Running,
    growth: u64,
    name: u64,
    attack: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    others_are_served(running.address, 2 * name)?;
    let before = running.server.resident_bytes()?;
    attack(running.address)
        .with_context(|| format!("the server's log:\n{}", running.server.log().unwrap_or_default()))?;
    let after = running.server.resident_bytes()?;
    println!("resident: {} MiB before, {} MiB after", before / MIB, after / MIB);
    others_are_served(running.address, 2 * name + 1)?;
    ensure!(
        after < before + growth,
        "the server grew by {} MiB, from {} MiB",
        (after - before) / MIB,
        before / MIB
    );
    ensure!(!running.server.log()?.contains("panicked"), "the server panicked:\n{}", running.server.log()?);
    Ok(())
}

/// A frame of this payload, from a registered client, ends its connection.
fn hangs_up(address: SocketAddr, encoding: Encoding, what: &str, payload: &[u8]) -> Result<()> {
    let mut rude = Rude::register(address, encoding)?;
    rude.send_frame(payload)?;
    let reaction = rude.reaction().with_context(|| what.to_owned())?;
    ensure!(reaction == Reaction::Closed, "{what}: {reaction:?}");
    Ok(())
}

#[test]
fn a_frame_beyond_the_limit_ends_the_connection_before_its_bytes_are_awaited() -> Result<()> {
    let folder = place::scratch("frames")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 64 * MIB, 1, |address| {
        for length in [u32::MAX, 1 << 31, (256 << 20) + 1] {
            let mut rude = Rude::register(address, Encoding::Msgpack)?;
            rude.send(&length.to_be_bytes())?;
            ensure!(rude.reaction()? == Reaction::Closed, "{length}");
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn before_register_even_a_moderate_frame_is_too_large() -> Result<()> {
    let folder = place::scratch("early-frames")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 64 * MIB, 1, |address| {
        let mut rude = Rude::connect(address, Encoding::Msgpack)?;
        rude.send(&(64u32 << 20).to_be_bytes())?;
        rude.frame()?.context("the greeting")?;
        ensure!(rude.frame()?.is_none(), "a greeting of 64 MiB is awaited");
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn frames_that_are_announced_and_never_come_take_no_memory() -> Result<()> {
    let folder = place::scratch("announced-frames")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 64 * MIB, 1, |address| {
        let mut held = Vec::new();
        for _ in 0..50 {
            let mut rude = Rude::register(address, Encoding::Msgpack)?;
            rude.send(&(200u32 << 20).to_be_bytes())?;
            rude.send(&[0; 100])?;
            held.push(rude);
        }
        others_are_served(address, 99)
    })?;
    running.server.stop()
}

#[test]
fn hostile_pickles_end_the_connection_and_cost_nothing() -> Result<()> {
    let folder = place::scratch("pickles")?;
    let mut running = start(folder.path())?;
    let deep = |opening: &[u8], closing: &[u8]| {
        [b"\x80\x03", &*opening.repeat(1_000_000), &*closing.repeat(1_000_000), b"."].concat()
    };
    // Each step doubles: a list of the list before, twice, by reference to the memo.
    let doubling: Vec<u8> = (0..60u8).flat_map(|n| [b'(', b'h', n, b'h', n, b'l', b'q', n + 1]).collect();
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("only the end", b".".to_vec()),
        ("truncated", b"\x80\x03(K\x01K\x00X\x04\x00\x00\x00pi".to_vec()),
        ("not a tuple", b"\x80\x03K\x01.".to_vec()),
        ("a tuple of three", b"\x80\x03K\x01K\x00X\x04\x00\x00\x00ping\x87.".to_vec()),
        ("bytes of 4 GiB", b"\x80\x03(K\x01K\x00X\x04\x00\x00\x00pingB\xff\xff\xff\xff".to_vec()),
        ("bytes of 8 EiB", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec()),
        ("text of 4 GiB", b"\x80\x03X\xff\xff\xff\xff".to_vec()),
        ("a number of 2 GiB", b"\x80\x03\x8b\xff\xff\xff\x7f".to_vec()),
        ("a number of negative length", b"\x80\x03\x8b\xff\xff\xff\xff.".to_vec()),
        ("an empty stack popped", b"\x80\x03000.".to_vec()),
        ("a mark that is not there", b"\x80\x03t.".to_vec()),
        ("a memo that is not there", b"\x80\x03j\xff\xff\xff\xff.".to_vec()),
        ("a memo far away", b"\x80\x03Nr\xff\xff\xff\xff.".to_vec()),
        (
            "a forbidden global",
            b"\x80\x03(K\x01K\x00X\x04\x00\x00\x00pingcos\nsystem\nX\x02\x00\x00\x00ls\x85R\x85t.".to_vec(),
        ),
        ("lists in lists", deep(b"]", b"a")),
        ("tuples in tuples", [b"\x80\x03)".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat()),
        ("marks without end", [b"\x80\x03".as_slice(), &b"(".repeat(5_000_000), b"."].concat()),
        ("dictionaries in dictionaries", deep(b"}K\x00", b"s")),
        ("ten million Nones", [b"\x80\x03(".as_slice(), &b"N".repeat(10_000_000), b"t."].concat()),
        ("a memo bomb", [b"\x80\x03]q\x00".as_slice(), &doubling, b"."].concat()),
        ("invalid text", b"\x80\x03(K\x01K\x00X\x02\x00\x00\x00\xff\xfe)t.".to_vec()),
    ];
    cases.push(("a persistent id", b"\x80\x03(K\x01K\x00X\x04\x00\x00\x00pingK\x01Qt.".to_vec()));
    unharmed(&mut running, 200 * MIB, 1, |address| {
        for (what, payload) in &cases {
            hangs_up(address, Encoding::Pickle, what, payload)?;
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn hostile_msgpack_ends_the_connection_and_costs_nothing() -> Result<()> {
    let folder = place::scratch("msgpack")?;
    let mut running = start(folder.path())?;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("truncated", b"\x94\x01\xc2\xa4pi".to_vec()),
        ("not an array", b"\x01".to_vec()),
        ("an array of three", b"\x93\x01\xc2\xa4ping".to_vec()),
        ("an array of 4 billion", b"\xdd\xff\xff\xff\xff".to_vec()),
        ("arguments of 4 billion", b"\x94\x01\xc2\xa4ping\xdd\xff\xff\xff\xff".to_vec()),
        ("a map of 4 billion", b"\x94\x01\xc2\xa4ping\x91\xdf\xff\xff\xff\xff".to_vec()),
        ("bytes of 4 GiB", b"\x94\x01\xc2\xa4ping\x91\xc6\xff\xff\xff\xff".to_vec()),
        ("text of 4 GiB", b"\x94\x01\xc2\xdb\xff\xff\xff\xff".to_vec()),
        ("an extension", b"\x94\x01\xc2\xa4ping\x91\xc7\x04\x05abcd".to_vec()),
        ("the reserved byte", b"\x94\x01\xc2\xa4ping\x91\xc1".to_vec()),
        ("invalid text", b"\x94\x01\xc2\xa2\xff\xfe\x90".to_vec()),
        ("bytes after the end", b"\x94\x01\xc2\xa4ping\x90\xc0\xc0".to_vec()),
        ("arrays in arrays", [&*b"\x91".repeat(5_000_000), b"\xc0"].concat()),
        ("maps in maps", [&*b"\x81\x00".repeat(5_000_000), b"\xc0"].concat()),
        (
            "ten million nils",
            [b"\x94\x01\xc2\xa4ping\xdd\x00\x98\x96\x80".as_slice(), &b"\xc0".repeat(10_000_000)].concat(),
        ),
    ];
    unharmed(&mut running, 200 * MIB, 1, |address| {
        for (what, payload) in &cases {
            hangs_up(address, Encoding::Msgpack, what, payload)?;
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn random_bytes_harm_nobody() -> Result<()> {
    let mut seed = Seed::announced();
    let folder = place::scratch("random")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 100 * MIB, 1, |address| {
        for round in 0..400 {
            let encoding = ENCODINGS[round % 2];
            let mut valid = Vec::new();
            let args = [Value::from("text"), Value::from(&[1u8; 40]), Value::None];
            encode_call(encoding, &mut valid, &MsgId::Int(1), false, "history", &args);
            // Half of them: a valid message with some bytes changed.
            let mut payload: Vec<u8> = match round % 4 {
                0 | 1 => valid.split_off(4),
                _ => (0..seed.pick(0..300)).map(|_| seed.pick(0..256) as u8).collect(),
            };
            for _ in 0..seed.pick(1..4) {
                if !payload.is_empty() {
                    let at = seed.pick(0..payload.len() as u64) as usize;
                    payload[at] = seed.pick(0..256) as u8;
                }
            }
            let mut rude = Rude::register(address, encoding)?;
            rude.send_frame(&payload)?;
            rude.stream().shutdown(std::net::Shutdown::Write)?;
            while rude.frame()?.is_some() {}
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn what_must_not_be_called_ends_the_connection() -> Result<()> {
    let folder = place::scratch("methods")?;
    let mut running = start(folder.path())?;
    let register = [Value::from("1"), Value::Bool(false)];
    unharmed(&mut running, 64 * MIB, 1, |address| {
        for encoding in ENCODINGS {
            for method in
                ["nonsense", "", "ruok", "get_size_info", "__class__", "close", "notify_disconnected"]
            {
                let mut rude = Rude::register(address, encoding)?;
                ensure!(rude.call(method, &[])? == Reaction::Closed, "{method}");
            }
            for (method, args) in
                [("lastTransaction", &[] as &[_]), ("tpc_abort", &[Value::Int(1)]), ("ping", &[])]
            {
                let mut rude = Rude::greet(address, encoding)?;
                ensure!(rude.call(method, args)? == Reaction::Closed, "{method} before register");
            }
            let mut rude = Rude::register(address, encoding)?;
            ensure!(rude.call("register", &register)? == Reaction::Closed, "a second register");
            for answer in [&b"Z4"[..], b"Z310", b"", b"M6", b"GET / HTTP/1.1"] {
                let mut rude = Rude::connect(address, encoding)?;
                rude.send_frame(answer)?;
                rude.frame()?.context("the greeting")?;
                ensure!(rude.frame()?.is_none(), "{answer:?} for a protocol");
            }
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn a_refused_register_leaves_the_connection_for_another() -> Result<()> {
    let folder = place::scratch("register")?;
    let mut running = start(folder.path())?;
    for encoding in ENCODINGS {
        let mut rude = Rude::greet(running.address, encoding)?;
        for storage in [Value::from("no such storage"), Value::from(&b"1"[..]), Value::None, Value::Int(1)] {
            let reaction = rude.call("register", &[storage.clone(), Value::Bool(false)])?;
            ensure!(matches!(reaction, Reaction::Raised(_)), "{storage:?}: {reaction:?}");
        }
        let reaction = rude.call("register", &[Value::from("1"), Value::Bool(false)])?;
        ensure!(matches!(reaction, Reaction::Returned(_)), "{reaction:?}");
    }
    running.server.stop()
}

#[test]
fn arguments_of_the_wrong_number_or_type_are_errors_and_the_connection_goes_on() -> Result<()> {
    let folder = place::scratch("arguments")?;
    let mut running = start(folder.path())?;
    for encoding in ENCODINGS {
        let mut rude = Rude::register(running.address, encoding)?;
        for (method, args) in [
            ("lastTransaction", vec![Value::Int(1)]),
            ("loadBefore", vec![Value::from(&[0u8; 8])]),
            ("loadSerial", vec![]),
            ("tpc_begin", vec![]),
            ("vote", vec![Value::Int(1), Value::Int(2)]),
            ("getInvalidations", vec![]),
        ] {
            let reaction = rude.call(method, &args)?;
            ensure!(reaction == Reaction::Raised("builtins.TypeError".into()), "{method}: {reaction:?}");
        }
        for (method, args) in [
            ("loadBefore", vec![Value::from("text"), Value::Int(5)]),
            ("loadBefore", vec![Value::from(&b"short"[..]), Value::from(&[0u8; 8])]),
            ("history", vec![Value::from(&[0u8; 8]), Value::from("many")]),
            ("new_oids", vec![Value::from("ten")]),
            ("getInvalidations", vec![Value::None]),
            ("iterator_next", vec![Value::from("first")]),
            ("undoLog", vec![Value::None, Value::None]),
        ] {
            let reaction = rude.call(method, &args)?;
            ensure!(matches!(reaction, Reaction::Raised(_)), "{method}{args:?}: {reaction:?}");
        }
        let reaction = rude.call("lastTransaction", &[])?;
        ensure!(matches!(reaction, Reaction::Returned(_)), "{reaction:?}");
    }
    running.server.stop()
}

#[test]
fn a_failing_call_without_reply_ends_the_connection_and_frees_its_locks() -> Result<()> {
    let folder = place::scratch("oneway")?;
    let mut running = start(folder.path())?;
    let (oid, id) = (Value::from(&[0, 0, 0, 0, 0, 9, 9, 9]), Value::Int(3));
    let nul = Value::from(&[0u8; 8]);
    let record = record(200, 1);
    let begin = [id.clone(), Value::from(""), Value::from(""), Value::Dict(Vec::new())];
    let store = [oid.clone(), nul.clone(), Value::from(&record[..]), id.clone()];
    for encoding in ENCODINGS {
        let mut rude = Rude::register(running.address, encoding)?;
        rude.post("storea", &store)?; // in no transaction
        ensure!(rude.reaction()? == Reaction::Closed);

        // It has voted, and holds the lock of its object: then it goes wrong.
        let mut rude = Rude::register(running.address, encoding)?;
        rude.post("tpc_begin", &begin)?;
        rude.post("storea", &store)?;
        let voted = rude.call("vote", std::slice::from_ref(&id))?;
        ensure!(matches!(voted, Reaction::Returned(_)), "{voted:?}");
        rude.post("storea", &[oid.clone(), nul.clone(), Value::from(&record[..]), Value::Int(4)])?;
        ensure!(rude.reaction()? == Reaction::Closed);

        let mut other = Rude::register(running.address, encoding)?;
        other.post("tpc_begin", &begin)?;
        other.post("storea", &store)?;
        let voted = other.call("vote", std::slice::from_ref(&id))?;
        ensure!(matches!(voted, Reaction::Returned(_)), "the lock is still taken: {voted:?}");
        let aborted = other.call("tpc_abort", std::slice::from_ref(&id))?;
        ensure!(aborted == Reaction::Returned(Value::None), "{aborted:?}");
    }
    running.server.stop()
}

/// One object with a large record, to make replies of.
fn store_large(address: SocketAddr, oid: u64, bytes: usize) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let connection = Connection::open(address).await?;
        Committer::new(connection, 1, vec![Oid::new(oid)], bytes, Tid::ZERO).commit().await?;
        Ok(())
    })
}

/// Sends `bytes` over and over without reading, until the server takes no more for two seconds or hangs up.
fn send_and_never_read(rude: &mut Rude, bytes: &[u8]) -> Result<u64> {
    rude.stream().set_write_timeout(Some(Duration::from_millis(200)))?;
    let (mut sent, mut position) = (0, 0);
    let began = Instant::now();
    let mut progress = Instant::now();
    while progress.elapsed() < Duration::from_secs(2) && began.elapsed() < Duration::from_secs(30) {
        match rude.stream().write(&bytes[position..]) {
            Ok(written) => {
                position = (position + written) % bytes.len();
                sent += written as u64;
                progress = Instant::now();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => bail!(error),
        }
    }
    Ok(sent)
}

#[test]
fn clients_that_send_and_never_read_take_bounded_memory_and_hold_nobody_up() -> Result<()> {
    let folder = place::scratch("never-reads")?;
    let mut running = start(folder.path())?;
    store_large(running.address, 77, 1 << 20)?;
    unharmed(&mut running, 300 * MIB, 1, |address| {
        let mut requests = Vec::new();
        for _ in 0..1000 {
            encode_load(Encoding::Msgpack, &mut requests, Oid::new(77), Tid::MAX);
        }
        let mut held = Vec::new();
        for number in 0..3 {
            let mut rude = Rude::register(address, Encoding::Msgpack)?;
            let sent = send_and_never_read(&mut rude, &requests)?;
            println!("client {number}: {sent} bytes of requests, each for a reply of 1 MiB");
            held.push(rude);
            others_are_served(address, 50 + number)?;
        }
        Ok(())
    })?;
    running.server.stop()
}

#[test]
fn a_client_that_does_not_read_its_invalidations_holds_nobody_up() -> Result<()> {
    let folder = place::scratch("invalidations")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 300 * MIB, 1, |address| {
        let _idle: Vec<_> =
            (0..20).map(|_| Rude::register(address, Encoding::Pickle)).collect::<Result<_>>()?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let connection = Connection::open(address).await?;
            let oids = (0..5000).map(|place| Oid::new((1 << 24) + place)).collect();
            let mut committer = Committer::new(connection, 1, oids, 100, Tid::ZERO);
            for number in 0..100 {
                println!("commit {number}");
                let commit = tokio::time::timeout(Duration::from_secs(20), committer.commit());
                commit.await.context("no commit in 20 s")??;
            }
            Ok(())
        })
    })?;
    running.server.stop()
}

#[test]
fn connections_that_say_nothing_hold_nobody_up() -> Result<()> {
    let folder = place::scratch("silent")?;
    let mut running = start(folder.path())?;
    unharmed(&mut running, 100 * MIB, 1, |address| {
        let silent: Vec<_> =
            (0..500).map(|_| Rude::connect(address, Encoding::Pickle)).collect::<Result<_>>()?;
        others_are_served(address, 9)?;
        for mut rude in silent {
            // Half a frame, then gone.
            let mut half = Vec::new();
            frame::write(&mut half, |out| out.extend_from_slice(b"Z5"));
            rude.send(&half[..5])?;
        }
        Ok(())
    })?;
    running.server.stop()
}
