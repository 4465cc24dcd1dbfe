use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Distance, Network};

const BYTES: usize = 2_000_000;

/// Three hosts, the last of which is far; `None` where the machine does not allow it.
fn network() -> Option<Network> {
    let far = Distance { delay: Duration::from_millis(20), bytes_per_second: Some(2_500_000) };
    let network = Network::with_distances(&[Distance::default(), Distance::default(), far]);
    network.inspect_err(|error| eprintln!("skipped: no network can be made here: {error:#}")).ok()
}

/// How long it takes until one is connected to another, and until so many bytes have come.
fn pass(network: &Network, from: usize, to: usize) -> Result<(Duration, Duration)> {
    let (near, far) = (network.runtime(from)?, network.runtime(to)?);
    let listener = far.block_on(far.spawn(TcpListener::bind((Network::address(to), 5000))))??;
    let taken = far.spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        stream.write_all(b"!").await?;
        Ok::<_, std::io::Error>(all.len())
    });
    let began = Instant::now();
    let passed = near.spawn(async move {
        let mut stream = TcpStream::connect((Network::address(to), 5000)).await?;
        let connected = began.elapsed();
        stream.write_all(&vec![7; BYTES]).await?;
        stream.shutdown().await?;
        stream.read_u8().await?;
        Ok::<_, std::io::Error>((connected, began.elapsed() - connected))
    });
    let within = Duration::from_secs(30);
    let passed = near.block_on(async { tokio::time::timeout(within, passed).await })???;
    ensure!(far.block_on(taken)?? == BYTES);
    Ok(passed)
}

#[test]
fn a_far_host_is_reached_later_and_takes_no_more_than_its_bandwidth() -> Result<()> {
    let Some(network) = network() else { return Ok(()) };
    for (from, to) in [(0, 2), (2, 1)] {
        let (connected, sent) = pass(&network, from, to)?;
        ensure!(connected >= Duration::from_millis(40), "there and back: {connected:?}");
        ensure!(sent >= Duration::from_millis(700), "2 MB at 2.5 MB/s: {sent:?}");
    }
    let (connected, _) = pass(&network, 0, 1)?;
    ensure!(connected < Duration::from_secs(1), "{connected:?}");
    Ok(())
}

#[test]
fn who_is_cut_off_is_not_reached_until_all_is_healed() -> Result<()> {
    let Some(network) = network() else { return Ok(()) };
    let near = network.runtime(0)?;
    for host in [1, 2] {
        let far = network.runtime(host)?;
        let listener = far.block_on(far.spawn(TcpListener::bind((Network::address(host), 5000))))??;
        let connect = || {
            let attempt = TcpStream::connect((Network::address(host), 5000));
            near.spawn(async { tokio::time::timeout(Duration::from_secs(2), attempt).await })
        };
        network.cut(host, 0)?;
        ensure!(near.block_on(connect())?.is_err(), "nothing comes back");
        network.heal()?;
        near.block_on(connect())???;
        drop(listener);
    }
    Ok(())
}
