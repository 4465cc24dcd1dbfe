//! What is another in a configuration that was read anew, and what of it can be taken over while the node runs.

use std::fmt::Debug;

use super::{NodeConfig, Secret};
use crate::span;

/// A key whose value is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `section.key`.
    pub key: String,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
    /// It takes effect at once; else when the node is started again.
    pub at_once: bool,
}

/// Everything that differs, in the order of the reference.
pub fn differences(old: &NodeConfig, new: &NodeConfig) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    of_cluster(&mut found, old, new);
    of_node(&mut found, old, new);
    of_the_rest(&mut found, old, new);
    found.0
}

/// The old configuration with everything of the new one that takes effect at once.
pub fn merged(old: &NodeConfig, new: &NodeConfig) -> NodeConfig {
    let mut merged = old.clone();
    merged.cluster.lease = new.cluster.lease;
    merged.node.priority = new.node.priority;
    merged.node.tags.clone_from(&new.node.tags);
    if let (Some(upstream), Some(new)) = (&mut merged.upstream, &new.upstream) {
        upstream.addresses.clone_from(&new.addresses);
    }
    merged.replication.acks = new.replication.acks;
    merged.replication.follow_pack = new.replication.follow_pack;
    merged.replication.catch_up_limit = new.replication.catch_up_limit;
    merged.tls.clone_from(&new.tls);
    merged.limits = new.limits.clone();
    merged.log.clone_from(&new.log);
    merged
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, key: &str, from: String, to: String, at_once: bool) {
        if from != to {
            self.0.push(Difference { key: key.to_owned(), from, to, at_once });
        }
    }

    fn at_once(&mut self, key: &str, from: &impl Debug, to: &impl Debug) {
        self.add(key, format!("{from:?}"), format!("{to:?}"), true);
    }

    fn at_start(&mut self, key: &str, from: &impl Debug, to: &impl Debug) {
        self.add(key, format!("{from:?}"), format!("{to:?}"), false);
    }
}

fn of_cluster(found: &mut Found, old: &NodeConfig, new: &NodeConfig) {
    let (a, b) = (&old.cluster, &new.cluster);
    found.at_start("cluster.name", &a.name, &b.name);
    if a.secret != b.secret {
        let shown = |secret: &Secret| if *secret == Secret::None { "none" } else { "(not shown)" }.to_owned();
        let (from, to) = (shown(&a.secret), shown(&b.secret));
        found.0.push(Difference { key: "cluster.secret".to_owned(), from, to, at_once: false });
    }
    found.at_start("cluster.join", &a.join, &b.join);
    found.add("cluster.lease", span::shown(a.lease), span::shown(b.lease), true);
}

fn of_node(found: &mut Found, old: &NodeConfig, new: &NodeConfig) {
    let (a, b) = (&old.node, &new.node);
    found.at_start("node.name", &a.name, &b.name);
    found.at_start("node.role", &a.role, &b.role);
    found.at_start("node.address", &a.address, &b.address);
    found.at_start("node.group", &a.group, &b.group);
    found.at_start("node.electable", &a.electable, &b.electable);
    found.at_start("node.voter", &a.voter, &b.voter);
    found.at_start("node.control", &a.control, &b.control);
    found.at_once("node.priority", &a.priority, &b.priority);
    found.at_once("tags", &a.tags, &b.tags);
    let (a, b) = (&old.listen, &new.listen);
    found.at_start("listen.zeo", &a.zeo, &b.zeo);
    found.at_start("listen.zeo_ro", &a.zeo_ro, &b.zeo_ro);
    found.at_start("listen.peer", &a.peer, &b.peer);
    found.at_start("listen.admin", &a.admin, &b.admin);
}

fn of_the_rest(found: &mut Found, old: &NodeConfig, new: &NodeConfig) {
    match (&old.upstream, &new.upstream) {
        (Some(a), Some(b)) => {
            found.at_once("upstream.addresses", &a.addresses, &b.addresses);
            found.at_start("upstream.recovery", &a.recovery, &b.recovery);
            found.at_start("upstream.compression", &a.compression, &b.compression);
        }
        (a, b) => found.at_start("upstream", a, b),
    }
    let (a, b) = (&old.replication, &new.replication);
    found.at_once("replication.acks", &a.acks.needed, &b.acks.needed);
    found.add("replication.ack_timeout", span::shown(a.acks.timeout), span::shown(b.acks.timeout), true);
    found.at_once("replication.on_ack_timeout", &a.acks.on_timeout, &b.acks.on_timeout);
    found.at_once("replication.follow_pack", &a.follow_pack, &b.follow_pack);
    found.add(
        "replication.catch_up_limit",
        span::shown(a.catch_up_limit),
        span::shown(b.catch_up_limit),
        true,
    );
    found.at_start("replication.compression", &a.compression, &b.compression);
    let (a, b) = (&old.zeo, &new.zeo);
    found.at_start("zeo.encoding", &a.encoding, &b.encoding);
    found.at_start("zeo.transaction_timeout", &a.transaction_timeout, &b.transaction_timeout);
    found.at_start("zeo.invalidations", &a.invalidations, &b.invalidations);
    found.at_once("tls", &old.tls, &new.tls);
    let (a, b) = (&old.limits, &new.limits);
    found.at_once("limits.connections", &a.clients.connections_max, &b.clients.connections_max);
    found.at_once("limits.message", &a.clients.frame_bytes_max, &b.clients.frame_bytes_max);
    found.at_once("limits.parked", &a.parked_max, &b.parked_max);
    found.at_once("log.filter", &old.log, &new.log);
    found.at_start("storage", &old.storages, &new.storages);
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const FILE: &str = "[cluster]\nname = \"plone\"\nsecret = \"0123456789abcdef\"\n\
        [node]\nname = \"a\"\nrole = \"auto\"\n[listen]\npeer = \"10.0.0.1:8200\"\n\
        [[storage]]\npath = \"Data.fs\"\n";

    fn read(text: &str) -> NodeConfig {
        parse("a.toml", text, &[]).expect("no mistakes")
    }

    #[test]
    fn what_differs_is_told_with_what_it_was_and_when_it_takes_effect() {
        let old = read(FILE);
        assert_eq!(differences(&old, &old), []);
        let text =
            FILE.replace("abcdef", "abcdeX").replace("role", "priority = 7\nrole").replace("8200", "8300");
        let new = read(&(text + "[limits]\nconnections = 5\n[replication]\nack_timeout = \"7s\"\n"));
        let told = differences(&old, &new);
        let shown: Vec<String> = told
            .iter()
            .map(|found| format!("{} {} {} {}", found.key, found.from, found.to, found.at_once))
            .collect();
        assert_eq!(
            shown,
            [
                "cluster.secret (not shown) (not shown) false",
                "node.priority 0 7 true",
                "listen.peer Some(Tcp(\"10.0.0.1:8200\")) Some(Tcp(\"10.0.0.1:8300\")) false",
                "replication.ack_timeout 5s 7s true",
                "limits.connections 10000 5 true",
            ]
        );
    }

    #[test]
    fn what_was_taken_over_differs_no_more_and_what_was_not_still_does() {
        let old = read(FILE);
        let text = FILE.replace("role", "priority = 7\ngroup = \"there\"\nrole").replace("8200", "8300");
        let new = read(&(text + "[limits]\nparked = 5\n[log]\nfilter = \"debug\"\n[tags]\nrack = \"4\"\n"));
        let merged = merged(&old, &new);
        assert!(differences(&old, &merged).iter().all(|found| found.at_once));
        let left: Vec<String> = differences(&merged, &new).into_iter().map(|found| found.key).collect();
        assert_eq!(left, ["node.group", "listen.peer"]);
    }
}
