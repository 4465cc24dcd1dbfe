//! What can be done with a cluster that runs on.

use std::fmt::Write;
use std::path::Path;

use crate::cluster::Node;

/// How to connect, what to try, and how to end it.
pub fn text(nodes: &[Node], admin: &Path) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    let (zeo, zeo_ro): (Vec<String>, Vec<String>) =
        nodes.iter().map(|node| (node.zeo().to_string(), node.zeo_ro().to_string())).unzip();
    line("The cluster runs on. In zope.conf:\n");
    line("  <zodb_db main>\n    mount-point /\n    <zeoclient>");
    for address in &zeo {
        line(&format!("      server {address}"));
    }
    line("      storage 1\n      name zeostorage\n    </zeoclient>\n  </zodb_db>\n");
    let tuples = zeo.iter().map(|address| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "8100"));
        format!("({host:?}, {port})")
    });
    line("In Python:\n");
    line(&format!("  ZEO.DB([{}])\n", tuples.collect::<Vec<_>>().join(", ")));
    line(&format!("Read-only clients: {}\n", zeo_ro.join(" ")));
    line("As its operator, in another terminal:\n");
    let socket = nodes.first().map(|node| node.socket().display().to_string()).unwrap_or_default();
    line(&format!("  export STANDBY_ADMIN=unix:{socket}"));
    for command in ["status --watch", "history", "lost", "switchover --dry-run", "switchover"] {
        line(&format!("  {} {command}", admin.display()));
    }
    line("\nCtrl-C stops it, and removes all of its files.");
    text
}
