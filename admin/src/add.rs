//! `standby-admin add`: the configuration file of a node that is to join.

use anyhow::{Context, Result, bail, ensure};
use standby_control::NodeStatus;

/// What is known of the node.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it, HOST:PORT.
    pub address: String,
    /// Its group; `None`: that of the primary.
    pub group: Option<String>,
    /// It has no data, and votes.
    pub is_witness: bool,
    /// Where it finds the secret of the cluster.
    pub secret_file: String,
}

/// The file, as text.
///
/// # Errors
/// The cluster has such a node already, or the node that was asked belongs to none.
pub fn configuration(new: &NewNode, known: &NodeStatus) -> Result<String> {
    let view = known.view.as_ref().context("the node that was asked belongs to no cluster that decides")?;
    let NewNode { name, address, is_witness, secret_file, .. } = new;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        !name.is_empty() && name.len() <= 64 && name.chars().all(fits),
        "{name:?} is no name: up to 64 letters, digits, `-`, `_` and `.`"
    );
    if view.nodes.iter().any(|node| node.name == *name) {
        bail!("a node {name} belongs to the cluster already: `remove {name}` takes it out for good");
    }
    let (host, port) = address.rsplit_once(':').with_context(|| format!("{address:?} is not HOST:PORT"))?;
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .with_context(|| format!("{address:?} is not HOST:PORT"))?;
    let primary = view.nodes.iter().find(|node| Some(&node.name) == view.primary.as_ref());
    let local = primary.map_or(known.group.clone(), |primary| primary.group.clone());
    let group = new.group.clone().unwrap_or_else(|| local.clone());
    let join: Vec<String> =
        view.nodes.iter().filter_map(|node| Some(format!("{:?}", node.peer.as_ref()?))).collect();
    ensure!(!join.is_empty(), "the node that was asked knows no addresses to join at yet");
    let cluster = &known.cluster;
    let command = if *is_witness { "witness" } else { "run" };
    let mut text = format!(
        "# Node {name} of cluster {cluster}. Put the secret of the cluster where `secret_file` says (from this file's folder), then:\n\
         #   standby check {name}.toml\n\
         #   standby {command} {name}.toml\n\n\
         [cluster]\nname = {cluster:?}\nsecret_file = {secret_file:?}\njoin = [{}]\n\n\
         [node]\nname = {name:?}\nrole = {:?}\ngroup = {group:?}\naddress = {address:?}\n",
        join.join(", "),
        if *is_witness { "witness" } else { "auto" },
    );
    if *is_witness {
        text.push_str(&format!("control = \"{name}.control.redb\"\n"));
    } else if group != local {
        text.push_str(
            "voter = false  # at another site: it hears what is decided, and nobody waits for its vote\n",
        );
    }
    text.push_str(&format!("\n[listen]\npeer = \"0.0.0.0:{port}\"\nadmin = \"unix:{name}.sock\"\n"));
    if !is_witness {
        text.push_str(&format!("zeo = \"{host}:8100\"\nzeo_ro = \"{host}:8101\"\n"));
        for storage in &known.storages {
            let storage = &storage.name;
            let path = if storage == "1" { "Data.fs".to_owned() } else { format!("{storage}.fs") };
            text.push_str(&format!(
                "\n[[storage]]\nname = {storage:?}\npath = {path:?}\nblobs = \"{path}.blobs\"\n"
            ));
        }
    }
    Ok(text)
}
