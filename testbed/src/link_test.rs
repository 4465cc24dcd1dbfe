use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::poll;

/// A link to a server that sends back what it gets, and a connection over it.
fn echo() -> Result<(Link, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let link = Link::to(listener.local_addr()?)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut reader, mut writer) = (&stream, &stream);
                std::io::copy(&mut reader, &mut writer)
            });
        }
    });
    let stream = connect(&link)?;
    Ok((link, stream))
}

fn connect(link: &Link) -> Result<TcpStream> {
    let stream = TcpStream::connect(link.address())?;
    stream.set_read_timeout(Some(poll::PATIENCE))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(sent)?;
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received)?;
    Ok(received)
}

#[test]
fn a_link_passes_what_is_sent_and_the_end_of_it() -> Result<()> {
    let (link, mut stream) = echo()?;
    assert_eq!(exchange(&mut stream, b"there and back")?, b"there and back");
    stream.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(stream.read(&mut [0; 1])?, 0);
    assert_eq!((link.passed(Way::There), link.passed(Way::Both), link.attempts().len()), (14, 28, 1));
    Ok(())
}

#[test]
fn a_link_that_is_cut_ends_connections_and_takes_no_new_ones_until_it_is_mended() -> Result<()> {
    let (link, mut stream) = echo()?;
    exchange(&mut stream, b"before")?;
    link.cut();
    assert!(exchange(&mut stream, b"lost").is_err());
    assert!(connect(&link).and_then(|mut stream| Ok(exchange(&mut stream, b"lost")?)).is_err());
    link.pass();
    assert_eq!(exchange(&mut connect(&link)?, b"after")?, b"after");
    Ok(())
}

#[test]
fn a_link_that_stalls_in_one_direction_keeps_what_is_sent_there() -> Result<()> {
    for way in [Way::There, Way::Back, Way::Both] {
        let (link, mut stream) = echo()?;
        exchange(&mut stream, b"before")?;
        link.stall(way);
        stream.write_all(b"later")?;
        if way == Way::Back {
            poll::until("it to go there", poll::PATIENCE, || {
                Ok((link.passed(Way::There) == 11).then_some(()))
            })?;
        }
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        assert!(stream.read(&mut [0; 1]).is_err(), "{way:?}");
        link.pass();
        stream.set_read_timeout(Some(poll::PATIENCE))?;
        let mut received = [0; 5];
        stream.read_exact(&mut received)?;
        assert_eq!(&received, b"later");
    }
    Ok(())
}

#[test]
fn a_link_changes_one_bit_of_the_byte_that_was_asked_for() -> Result<()> {
    let (link, mut stream) = echo()?;
    exchange(&mut stream, b"before")?;
    link.flip_a_bit(Way::Back, 7);
    assert_eq!(exchange(&mut stream, &[0; 5])?, [0; 5]);
    assert!(!link.has_flipped());
    assert_eq!(exchange(&mut stream, &[0; 5])?, [0, 0, 0x10, 0, 0]);
    assert!(link.has_flipped());
    assert_eq!(exchange(&mut stream, &[0; 20])?, [0; 20]);
    Ok(())
}

#[test]
fn a_link_delays_and_limits_what_passes() -> Result<()> {
    let (link, mut stream) = echo()?;
    link.delay(Duration::from_millis(50));
    let begin = Instant::now();
    exchange(&mut stream, b"slowly")?;
    assert!(begin.elapsed() >= Duration::from_millis(100));
    link.pass();
    link.limit_bandwidth(1_000_000);
    let begin = Instant::now();
    let sent = vec![1; 100_000];
    assert_eq!(exchange(&mut stream, &sent)?, sent);
    assert!(begin.elapsed() >= Duration::from_millis(100));
    Ok(())
}
