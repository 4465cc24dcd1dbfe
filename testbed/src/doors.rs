//! How many clients wait at the doors of servers, as the kernel tells.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

/// What waits at an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Door {
    /// Connections that the server has not accepted yet.
    pub backlog: usize,
    /// Connections that are established, those of the backlog included.
    pub connections: usize,
}

/// What waits at each of these addresses (IPv4) now.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn at(addresses: &[SocketAddr]) -> Result<Vec<Door>> {
    Ok(count(&std::fs::read_to_string("/proc/net/tcp")?, addresses))
}

/// The table has a line for each socket: number, local and remote address, state, and two queues, which of a listener are
/// those of its connections (`Documentation/networking/proc_net_tcp.rst` in Linux).
fn count(table: &str, addresses: &[SocketAddr]) -> Vec<Door> {
    const ESTABLISHED: &str = "01";
    const LISTEN: &str = "0A";
    let mut doors = vec![Door::default(); addresses.len()];
    for line in table.lines().skip(1) {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(_), Some(state), Some(queues)) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        let Ok(local) = parse(local) else { continue };
        let Some(door) = addresses.iter().position(|address| *address == local) else { continue };
        match state {
            ESTABLISHED => doors[door].connections += 1,
            LISTEN => {
                let waiting = queues.split_once(':').map(|(_, received)| usize::from_str_radix(received, 16));
                doors[door].backlog = waiting.and_then(Result::ok).unwrap_or(0);
            }
            _ => {}
        }
    }
    doors
}

/// An address in the table: that of the host as a number in its own byte order, the port as one.
fn parse(text: &str) -> Result<SocketAddr> {
    let (host, port) = text.split_once(':').context("a port")?;
    let host = Ipv4Addr::from(u32::from_str_radix(host, 16)?.to_ne_bytes());
    Ok(SocketAddr::from((host, u16::from_str_radix(port, 16)?)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn those_who_were_not_let_in_are_counted() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        assert_eq!(at(&[address])?, [Door::default()]);
        let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
        assert_eq!(at(&[address])?, [Door { backlog: 3, connections: 3 }]);
        let _accepted = listener.accept()?;
        assert_eq!(at(&[address])?, [Door { backlog: 2, connections: 3 }]);
        Ok(())
    }
}
