//! The first part of a scenario: the cluster and its clients.

use std::time::Duration;

use super::language::{ClientPlan, Link, NodePlan};
use super::words::Words;

/// More nodes, or clients of one kind, are taken for mistakes.
const NODES_MAX: usize = 9;
const CLIENTS_MAX: u64 = 200;
/// Leases within a scenario's time.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(20);
const LINES: &str = "\"sites:\", \"link:\", \"replication:\", \"lease:\" or \"clients:\"";
/// Names that would be taken for something else.
const RESERVED: [&str; 7] = ["all", "and", "primary", "replica", "that", "the", "what"];

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) nodes: Vec<NodePlan>,
    pub(super) links: Vec<Link>,
    pub(super) acks: Option<usize>,
    pub(super) lease: Option<Duration>,
    pub(super) clients: Option<ClientPlan>,
}

impl Header {
    /// Takes a line in.
    pub(super) fn line(&mut self, words: &mut Words) -> Result<(), String> {
        let before = words.clone();
        let Some(key) = words.word() else { return before.expected(LINES) };
        if !["sites", "link", "replication", "lease", "clients"].contains(&key.as_str()) {
            return before.expected(LINES);
        }
        words.must(":")?;
        let is_there = match key.as_str() {
            "sites" => !self.nodes.is_empty(),
            "replication" => self.acks.is_some(),
            "lease" => self.lease.is_some(),
            "clients" => self.clients.is_some(),
            _ => false,
        };
        if is_there {
            return Err(format!("there is a line \"{key}:\" already"));
        }
        match key.as_str() {
            "sites" => self.sites(words),
            "link" => self.link(words),
            "replication" => self.replication(words),
            "lease" => self.lease(words),
            _ => self.clients(words),
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_complete(&self) -> Result<(), String> {
        let missing = [
            (self.nodes.is_empty(), "sites: home has a, b, c"),
            (self.acks.is_none(), "replication: acks 1"),
            (self.clients.is_none(), "clients: 4 writers, 2 readers"),
        ];
        if let Some((_, such)) = missing.iter().find(|(is_missing, _)| *is_missing) {
            return Err(format!("expected a line such as {such:?} before this"));
        }
        let replicas = self.home().filter(|node| !node.is_witness).count() - 1;
        let acks = self.acks.unwrap_or_default();
        if acks > replicas {
            return Err(format!("acks {acks}, and the first site has {replicas} replicas"));
        }
        Ok(())
    }

    /// The nodes of the first site.
    fn home(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().filter(|node| node.site == self.nodes[0].site)
    }

    fn sites(&mut self, words: &mut Words) -> Result<(), String> {
        loop {
            let site = self.name(words, "the name of a site")?;
            words.must("has")?;
            loop {
                let name = self.name(words, "the name of a node")?;
                let is_witness = words.take("( witness )");
                if is_witness && self.nodes.first().is_some_and(|first| first.site != site) {
                    return Err(format!("{name}: a witness is at the first site, with those that vote"));
                }
                if self.nodes.is_empty() && is_witness {
                    return Err(format!("{name}: the first node has data"));
                }
                self.nodes.push(NodePlan { name, site: site.clone(), is_witness });
                if !words.take(",") && !words.take("and") {
                    break;
                }
            }
            if !words.take(";") {
                break;
            }
        }
        if self.nodes.len() > NODES_MAX {
            return Err(format!("expected at most {NODES_MAX} nodes, found {}", self.nodes.len()));
        }
        self.nodes.sort_by_key(|node| node.is_witness);
        Ok(())
    }

    /// A name that nothing else has: of letters, digits and hyphens.
    fn name(&self, words: &mut Words, what: &str) -> Result<String, String> {
        let before = words.clone();
        let is_name = |word: &str| {
            word.len() <= 20
                && word.starts_with(|letter: char| letter.is_ascii_lowercase())
                && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        };
        let Some(name) = words.word().filter(|word| is_name(word)) else { return before.expected(what) };
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("{name:?} is no name here"));
        }
        if self.nodes.iter().any(|node| node.name == name || node.site == name) {
            return Err(format!("there is a {name:?} already"));
        }
        Ok(name)
    }

    fn link(&mut self, words: &mut Words) -> Result<(), String> {
        let sites = sites(&self.nodes);
        let Some(site) = sites.iter().find(|site| words.take(site)) else {
            return words.expected(&format!("a site ({}), named in \"sites:\" before", sites.join(", ")));
        };
        let site = (*site).to_owned();
        if self.links.iter().any(|link| link.site == site) {
            return Err(format!("there is a line \"link: {site}\" already"));
        }
        words.must("is")?;
        let delay = words.time()?;
        if delay > Duration::from_secs(2) {
            return Err("expected a delay of at most 2 s".to_owned());
        }
        let bits_per_second = if words.take("and") {
            let number = words.number()?;
            match () {
                () if words.take("mbit/s") => Some(number.saturating_mul(1_000_000)),
                () if words.take("kbit/s") => Some(number.saturating_mul(1_000)),
                () => return words.expected("\"Mbit/s\" or \"kbit/s\""),
            }
        } else {
            None
        };
        if bits_per_second.is_some_and(|bits| bits < 100_000) {
            return Err("expected at least 100 kbit/s".to_owned());
        }
        words.must("away")?;
        self.links.push(Link { site, delay, bits_per_second });
        Ok(())
    }

    fn replication(&mut self, words: &mut Words) -> Result<(), String> {
        self.acks = Some(match () {
            () if words.take("asynchronous") => 0,
            () if words.take("acks") => words.number()? as usize,
            () => return words.expected("\"asynchronous\" or \"acks 1\""),
        });
        Ok(())
    }

    fn lease(&mut self, words: &mut Words) -> Result<(), String> {
        let lease = words.time()?;
        if lease < LEASE_MIN || lease > LEASE_MAX {
            return Err(format!("expected a lease of {LEASE_MIN:?} to {LEASE_MAX:?}"));
        }
        self.lease = Some(lease);
        Ok(())
    }

    fn clients(&mut self, words: &mut Words) -> Result<(), String> {
        let mut clients = ClientPlan { writers: 0, readers: 0, are_stock: words.take("stock") };
        loop {
            let number = words.number()?;
            if !(1..=CLIENTS_MAX).contains(&number) {
                return Err(format!("expected 1 to {CLIENTS_MAX} clients, found {number}"));
            }
            let count = match () {
                () if words.take("writers") || words.take("writer") => &mut clients.writers,
                () if words.take("readers") || words.take("reader") => &mut clients.readers,
                () => return words.expected("\"writers\" or \"readers\""),
            };
            *count += number as usize;
            if !words.take(",") && !words.take("and") {
                break;
            }
        }
        if clients.writers == 0 {
            return Err("expected at least one writer: without one nothing is shown".to_owned());
        }
        self.clients = Some(clients);
        Ok(())
    }
}

/// The sites of these nodes, each once.
pub(super) fn sites(nodes: &[NodePlan]) -> Vec<&str> {
    let mut sites = Vec::new();
    for node in nodes {
        if !sites.contains(&node.site.as_str()) {
            sites.push(node.site.as_str());
        }
    }
    sites
}
