//! What goes wrong, by chance, and how it is mended.

use std::time::Duration;

use simulated_world::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

use super::node::{ADMIN, TOKEN};
use super::{Cluster, TROUBLE};

impl Cluster {
    /// Things go wrong for a while.
    pub(super) fn suffer(&mut self) {
        let until = self.sim.elapsed() + TROUBLE;
        let mut operators = 0;
        while self.sim.elapsed() < until {
            let pause = self.chance.millis(50, 3_000);
            self.pass(pause);
            let node = self.chance.below(self.nodes.len() as u64) as usize;
            let other = self.chance.below(self.nodes.len() as u64) as usize;
            match self.chance.below(15) {
                0..3 => self.crash(node),
                3..6 => self.restart_somebody(),
                6 | 7 if node != other => self.part(node, other),
                8 => self.isolate(node),
                9..12 => self.repair(),
                12 | 13 if operators < 8 => {
                    operators += 1;
                    self.switch_over(node, operators);
                }
                14 => self.fail_disk(node),
                _ => {}
            }
        }
    }

    /// Everything works again, and everybody has the same.
    pub(super) fn heal(&mut self) {
        self.note("all is mended");
        self.repair();
        for node in 0..self.nodes.len() {
            self.see_to_disk(node);
            if !self.nodes[node].is_up {
                self.restart(node);
            }
        }
        self.until_committed("commits after all was mended");
        self.clients.stop();
        self.until("the clients to stop", |cluster| cluster.clients.all_have_stopped());
        self.until("the same history everywhere", Self::all_have_the_same);
        self.pass(Duration::from_secs(2));
        assert!(self.all_have_the_same(), "the histories came apart again");
    }

    fn all_have_the_same(&self) -> bool {
        let logs = self.nodes.iter().map(|node| simulated_world::fs::read(node.log()));
        let logs: Vec<_> = logs.map(Result::unwrap_or_default).collect();
        !logs[0].is_empty() && logs.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].is_up {
            let power_fails = !self.chance.one_in(3);
            let how = if power_fails { "loses its power" } else { "is killed" };
            self.note(format_args!("{} {how}", self.nodes[node].name));
            self.nodes[node].crash(&mut self.sim, &mut self.chance, power_fails);
        }
    }

    fn fail_disk(&mut self, node: usize) {
        if self.nodes[node].is_up && !self.nodes[node].disk_fails() {
            self.note(format_args!("the disk of {} fails", self.nodes[node].name));
            self.nodes[node].fail_disk();
        }
    }

    /// An operator stops a node whose disk has failed.
    fn see_to_disk(&mut self, node: usize) {
        if self.nodes[node].is_up && self.nodes[node].disk_fails() {
            self.note(format_args!("{} is killed, since its disk has failed", self.nodes[node].name));
            self.nodes[node].crash(&mut self.sim, &mut self.chance, false);
        }
    }

    /// One disk after the other fails, of those who may be the primary: another takes its place each time.
    pub(super) fn fail_disk_after_disk(&mut self) {
        for node in 0..self.voters {
            self.fail_disk(node);
            self.until_committed(&format!("commits while the disk of {} fails", self.nodes[node].name));
            self.see_to_disk(node);
            self.restart(node);
            self.pass(Duration::from_secs(5));
        }
    }

    fn until_committed(&mut self, what: &str) {
        // One may have been on its way.
        let before = self.clients.committed();
        self.until(what, |cluster| cluster.clients.committed() > before + 5);
    }

    fn restart_somebody(&mut self) {
        let down: Vec<usize> = (0..self.nodes.len()).filter(|node| !self.nodes[*node].is_up).collect();
        if !down.is_empty() {
            let which = self.chance.below(down.len() as u64) as usize;
            self.restart(down[which]);
        }
    }

    fn restart(&mut self, node: usize) {
        self.note(format_args!("{} starts", self.nodes[node].name));
        self.nodes[node].restart(&mut self.sim);
    }

    /// Two nodes hear nothing of each other, or one not of the other, or only later.
    fn part(&mut self, node: usize, other: usize) {
        let (one, two) = (self.nodes[node].address, self.nodes[other].address);
        let how = match self.chance.below(3) {
            0 => {
                self.sim.partition(one, two);
                "and nothing passes between it and"
            }
            1 => {
                self.sim.partition_oneway(one, two);
                "and nothing passes from it to"
            }
            _ => {
                self.sim.hold(one, two);
                "and everything waits between it and"
            }
        };
        self.note(format_args!("{} {how} {}", self.nodes[node].name, self.nodes[other].name));
    }

    /// A node hears nothing of anybody, or only of clients.
    fn isolate(&mut self, node: usize) {
        let of_clients = self.chance.one_in(2);
        self.note(format_args!("{} is cut off, clients too: {of_clients}", self.nodes[node].name));
        let own = self.nodes[node].address;
        for other in self.nodes.iter().map(|other| other.address).filter(|other| *other != own) {
            self.sim.partition(own, other);
        }
        if of_clients {
            for client in &self.clients.addresses {
                self.sim.partition(own, *client);
            }
        }
    }

    fn repair(&mut self) {
        self.note("the network works");
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.address).collect();
        for (number, one) in nodes.iter().enumerate() {
            for other in nodes[number + 1..].iter().chain(&self.clients.addresses) {
                self.sim.release(*one, *other);
                self.sim.repair(*one, *other);
            }
        }
    }

    /// An operator asks a node that another be the primary.
    fn switch_over(&mut self, node: usize, operator: usize) {
        let to = self.chance.below(self.voters as u64) as usize;
        let to = self.nodes[to].name.clone();
        self.note(format_args!("{} is asked that {to} be the primary", self.nodes[node].name));
        let (address, trace) = (self.nodes[node].address, self.trace.clone());
        self.sim.client(super::address(100 + operator), async move {
            let asking = async {
                let mut stream = TcpStream::connect((address, ADMIN)).await?;
                let body = format!("{{\"to\":\"{to}\",\"timeout_seconds\":5}}");
                let request = format!(
                    "POST /v1/switchover HTTP/1.1\r\nHost: node\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(request.as_bytes()).await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                std::io::Result::Ok(answer)
            };
            let answer = tokio::time::timeout(Duration::from_secs(30), asking).await;
            let status = match answer {
                Ok(Ok(answer)) => answer.lines().next().unwrap_or("nothing").to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            trace.note(turmoil::sim_elapsed().unwrap_or_default(), format_args!("the operator is told: {status}"));
            Ok(())
        });
    }
}
