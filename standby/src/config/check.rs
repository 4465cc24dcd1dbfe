//! What does not fit together in a configuration.

use super::reader::Document;
use super::{NodeConfig, Role, Secret};
use crate::listener::ListenAddress;

pub(super) fn check(config: &NodeConfig, document: &mut Document<'_>) {
    check_role(config, document);
    check_admin(config, document);
    if config.node.role == Role::Witness {
        return check_witness(config, document);
    }
    check_storages(config, document);
    check_addresses(config, document);
}

fn check_role(config: &NodeConfig, document: &mut Document<'_>) {
    let NodeConfig { cluster, node, listen, upstream, replication, .. } = config;
    match (node.role, upstream) {
        (Role::Primary, Some(_)) => {
            document.wrong("upstream", "a primary follows nobody: remove [upstream], or make it a replica");
        }
        (role, Some(_)) if role.is_decided() => {
            document.wrong("upstream", "whom this node follows is decided: remove [upstream]");
        }
        (role, None) if role.is_decided() && listen.peer.is_none() => {
            document.wrong("node.role", "a node of which the cluster decides needs `peer` in [listen]");
        }
        (role, None)
            if role.is_decided()
                && node.address.is_none()
                && listen.peer.as_ref().is_some_and(is_not_reachable) =>
        {
            let text = "others cannot reach it there: give `address`, HOST:PORT, in [node]";
            document.wrong("listen.peer", text);
        }
        (Role::Replica, None) => {
            document.wrong("node.role", "a replica needs a section [upstream] with its `addresses`");
        }
        (Role::Replica, Some(upstream)) if upstream.addresses.is_empty() => {
            document.wrong("upstream.addresses", "`addresses` names nobody to follow");
        }
        (Role::Replica, Some(upstream))
            if upstream.addresses.iter().any(|address| is(&listen.peer, address)) =>
        {
            document
                .wrong("upstream.addresses", "this node would follow itself: `peer` in [listen] is the same");
        }
        _ => {}
    }
    if replication.acks.needed > 0 && node.role == Role::Primary && listen.peer.is_none() {
        document.wrong(
            "replication.acks",
            "nobody can acknowledge: a primary with `acks` needs `peer` in [listen]",
        );
    }
    if replication.compression.is_some() && !node.role.is_decided() {
        document.wrong(
            "replication.compression",
            "this is for a node with `role = \"auto\"`; what a replica follows has it in [upstream]",
        );
    }
    let talks = listen.peer.is_some() || upstream.is_some();
    if talks && (cluster.secret == Secret::None || cluster.name.is_empty()) {
        let text =
            "a node that speaks with others needs [cluster] with a `name`, and `secret_file` or `secret`";
        document.wrong("cluster", text);
    }
    if listen.zeo.is_none() && listen.zeo_ro.is_none() && listen.peer.is_none() {
        document.wrong("listen", "a node needs at least one of `zeo`, `zeo_ro` and `peer` in [listen]");
    }
    if node.voter && !node.electable && node.role == Role::Primary {
        document.wrong("node.electable", "this node is the primary, and yet not electable");
    }
}

fn check_admin(config: &NodeConfig, document: &mut Document<'_>) {
    let over_tcp = config.listen.admin.iter().any(|address| matches!(address, ListenAddress::Tcp(_)));
    if over_tcp && !config.admin.lets_someone_in() {
        let text = "over TCP the control API needs to know its operator: give `token_file`, or `client_ca`, in [admin]";
        document.wrong("listen.admin", text);
    }
}

fn check_witness(config: &NodeConfig, document: &mut Document<'_>) {
    let NodeConfig { node, listen, storages, .. } = config;
    if !storages.is_empty() {
        document.wrong("storage", "a witness has no data: remove [[storage]], or make it `role = \"auto\"`");
    }
    if listen.zeo.is_some() || listen.zeo_ro.is_some() {
        document.wrong("listen", "a witness serves no clients: remove `zeo` and `zeo_ro`");
    }
    if node.electable {
        document.wrong("node.electable", "a witness has no data, and cannot become the primary");
    }
    if !node.voter {
        document.wrong("node.voter", "a witness that does not vote is of no use");
    }
    if node.control.is_none() {
        document
            .wrong("node.role", "a witness needs `control` in [node]: the file in which it keeps its votes");
    }
}

fn check_storages(config: &NodeConfig, document: &mut Document<'_>) {
    let storages = &config.storages;
    if storages.is_empty() {
        document.wrong("storage", "there is nothing to serve: add a [[storage]] with its `path`");
    }
    for (index, storage) in storages.iter().enumerate() {
        let earlier = &storages[..index];
        if earlier.iter().any(|known| known.name == storage.name) {
            let text = format!("two storages are called {:?}", storage.name);
            document.wrong(&format!("storage.{index}.name"), text);
        }
        if earlier.iter().any(|known| known.path == storage.path) {
            let text = format!("two storages are in {}", storage.path.display());
            document.wrong(&format!("storage.{index}.path"), text);
        }
        let shares =
            |known: &&super::StorageSpec| known.blob_dir.is_some() && known.blob_dir == storage.blob_dir;
        if earlier.iter().any(|known| shares(&known)) {
            document.wrong(&format!("storage.{index}.blobs"), "two storages share a blob directory");
        }
    }
}

fn check_addresses(config: &NodeConfig, document: &mut Document<'_>) {
    let listen = &config.listen;
    let one = [("zeo", &listen.zeo), ("zeo_ro", &listen.zeo_ro), ("peer", &listen.peer)];
    let one = one.into_iter().filter_map(|(key, address)| Some((key, address.as_ref()?)));
    let all: Vec<_> = one.chain(listen.admin.iter().map(|address| ("admin", address))).collect();
    for (index, (key, address)) in all.iter().enumerate() {
        for (other, taken) in &all[..index] {
            if taken == address && !picks_a_port(address) {
                document.wrong(&format!("listen.{key}"), format!("`{key}` and `{other}` are both {address}"));
            }
        }
    }
}

fn is(listens: &Option<ListenAddress>, address: &str) -> bool {
    matches!(listens, Some(ListenAddress::Tcp(text)) if text == address)
}

/// Not an address that others can dial.
fn is_not_reachable(address: &ListenAddress) -> bool {
    let ListenAddress::Tcp(text) = address else { return true };
    text.starts_with("0.0.0.0:") || text.starts_with("[::]:") || picks_a_port(address)
}

fn picks_a_port(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(text) if text.ends_with(":0"))
}
