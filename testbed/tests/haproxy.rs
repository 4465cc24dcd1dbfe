//! HAProxy in front of four nodes: whom it sends to whom, through a failover, a switchover and a replica that is cut off.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_control::Switchover;
use standby_testbed::certificates::Certificates;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::{change, cluster_of, primary, runtime, wait_for_followers};

use standby_testbed::haproxy::Haproxy;
use standby_testbed::link::Link;
use standby_testbed::script::Script;
use standby_testbed::{place, poll};
use zeo_proto::client::Connection;

/// Every node listens for its operator, and for load balancers, with this.
const ADMIN: &str = "token = \"a token of the testbed\"\n";

/// A client that waits for longer is not served now.
const A_WHILE: Duration = Duration::from_secs(5);

/// Three nodes that decide by themselves.
fn local(folder: &Path) -> Result<[Node; 3]> {
    cluster_of(folder, ["a", "b", "c"], |number, node| {
        node.set_admin(ADMIN);
        if number == 0 {
            node.set_replication("acks = 1"); // what was acknowledged survives the failover
        }
        Ok(())
    })
}

/// A client, and the name of the node that it gets to; `None`: it is served by nobody now.
async fn enter(address: SocketAddr, read_only: bool) -> Option<(Connection, String)> {
    let enter = async {
        let mut connection = match read_only {
            true => Connection::open_read_only(address).await.ok()?,
            false => Connection::open(address).await.ok()?,
        };
        let info = connection.call("get_info", &[]).await.ok()?;
        let (_, path) = info.as_dict()?.iter().find(|(key, _)| key.as_str() == Some("name"))?;
        // Each node's data is in a folder of its name.
        let folder = Path::new(path.as_str()?).parent()?.file_name()?.to_str()?.to_owned();
        Some((connection, folder))
    };
    tokio::time::timeout(A_WHILE, enter).await.ok().flatten()
}

fn served_by(address: SocketAddr, read_only: bool) -> Result<Option<String>> {
    Ok(runtime()?.block_on(enter(address, read_only)).map(|(_, name)| name))
}

/// The nodes among which a dozen read-only clients are spread.
fn readers(balancer: &Haproxy) -> Result<BTreeSet<String>> {
    let address = balancer.zeo_ro();
    let all: Vec<_> = runtime()?.block_on(async {
        let clients: Vec<_> = (0..12).map(|_| tokio::spawn(enter(address, true))).collect();
        let mut entered = Vec::new();
        for client in clients {
            entered.extend(client.await.ok().flatten());
        }
        entered // all of them at one time
    });
    Ok(all.into_iter().map(|(_, name)| name).collect())
}

/// Waits until read-only clients get to exactly these nodes, and read-write ones to that.
fn wait_for_routes(balancer: &Haproxy, writers: &str, readers_at: &[&str]) -> Result<()> {
    let mut last = None;
    let began = std::time::Instant::now();
    let waited = poll::until("clients at the right nodes", poll::PATIENCE, || {
        let found = (served_by(balancer.zeo(), false)?, readers(balancer)?);
        let is_right = found.0.as_deref() == Some(writers) && found.1.iter().eq(readers_at);
        last = Some(found);
        Ok(is_right.then_some(()))
    });
    eprintln!("writers at {writers}, readers at {readers_at:?} after {:.1?}", began.elapsed());
    waited.with_context(|| format!("writers should be at {writers}, readers at {readers_at:?}: {last:?}"))
}

fn client(folder: &Path, kind: &str, name: &str, address: SocketAddr) -> Result<Script> {
    let var = folder.join(name);
    std::fs::create_dir(&var)?;
    let mut arguments = vec![kind.to_owned()];
    if kind == "writer" {
        arguments.extend(["plain".to_owned(), name.to_owned()]);
    }
    arguments.extend([var.display().to_string(), address.to_string()]);
    let mut client = Script::start("failover.py", arguments)?;
    client.hear("begun")?;
    Ok(client)
}

/// Has a transaction written that begins now.
fn writes(writer: &mut Script, mark: &str) -> Result<()> {
    writer.tell(mark)?;
    eprintln!("{mark}: {}", writer.hear(&format!("wrote {mark}"))?);
    Ok(())
}

#[test]
fn clients_behind_a_load_balancer_get_to_the_primary_and_to_replicas_that_are_not_far_behind() -> Result<()> {
    let folder = place::scratch("haproxy")?;
    let mut nodes = local(folder.path())?;
    // The remote one follows over a link.
    let link = Link::to(nodes[2].peer())?;
    let mut d = Node::new(folder.path(), "d", Follows::Address(link.address()))?;
    d.set_admin(ADMIN);
    d.set_group("remote");
    d.configure(Follows::Address(link.address()))?;
    d.start()?;
    let [a, b, c] = &nodes;
    let Some(balancer) = Haproxy::start(folder.path(), &[a, b, c, &d], "")? else { return Ok(()) };
    let mut writer = client(folder.path(), "writer", "writer", balancer.zeo())?;
    let reader = client(folder.path(), "reader", "reader", balancer.zeo_ro())?;
    writes(&mut writer, "first")?;
    wait_for_routes(&balancer, "a", &["b", "c", "d"])?;

    // A failover.
    nodes[0].kill()?;
    writes(&mut writer, "after-the-failover")?;
    let new = primary(&nodes)?;
    let (new_name, other) = if new == 1 { ("b", "c") } else { ("c", "b") };
    wait_for_routes(&balancer, new_name, &[other, "d"])?;
    nodes[0].start()?;
    wait_for_followers(&nodes[..3])?;
    wait_for_routes(&balancer, new_name, &["a", other, "d"])?;

    // A switchover.
    poll::until("a switchover", poll::PATIENCE, || {
        let wanted = Switchover { to: Some("a".into()), timeout_seconds: Some(10.0), dry_run: false };
        match change(&nodes[1], "/v1/switchover", &wanted) {
            Err(error) if error.to_string().contains("just now") => Ok(None),
            done => done.map(Some),
        }
    })?;
    writes(&mut writer, "after-the-switchover")?;
    wait_for_routes(&balancer, "a", &["b", "c", "d"])?;

    // The remote replica is cut off, and serves on for whoever asks it: not for clients of the balancer.
    link.cut();
    wait_for_routes(&balancer, "a", &["b", "c"])?;
    ensure!(served_by(d.zeo_ro(), true)?.as_deref() == Some("d"), "it serves what it has");
    link.pass();
    wait_for_routes(&balancer, "a", &["b", "c", "d"])?;

    writer.tell("stop")?;
    writer.hear("ended at ")?;
    writer.end()?;
    let mut reader = reader;
    reader.tell("stop")?;
    reader.hear("read 1 writers")?;
    reader.end()?;
    d.stop()?;
    nodes.iter_mut().try_for_each(Node::stop)
}

#[test]
fn without_a_replica_readers_get_to_the_primary_and_without_that_to_anybody() -> Result<()> {
    let folder = place::scratch("haproxy")?;
    let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
    let mut b = Node::new(folder.path(), "b", Follows::Decided(Some(&a)))?;
    // Health is asked for over TLS.
    let addresses = [a.admin().ip(), b.admin().ip()];
    let Some(made) = Certificates::make(folder.path(), &addresses)? else { return Ok(()) };
    let (certificate, key) = (made.path("node.pem"), made.path("node.key"));
    let admin = format!("{ADMIN}certificate = \"{certificate}\"\nkey = \"{key}\"\n");
    a.set_admin(&admin);
    a.configure(Follows::Decided(None))?;
    a.init()?;
    a.start()?;
    b.set_admin(&admin);
    b.configure(Follows::Decided(Some(&a)))?;
    b.start()?;
    let mut witness = Node::new(folder.path(), "w", Follows::Votes(&a))?;
    witness.start()?;
    // These two never run.
    let (c, d) =
        (Node::new(folder.path(), "c", Follows::Nobody)?, Node::new(folder.path(), "d", Follows::Nobody)?);
    let check = format!("check-ssl ca-file {}", made.path("authority.pem"));
    let Some(balancer) = Haproxy::start(folder.path(), &[&a, &b, &c, &d], &check)? else { return Ok(()) };
    wait_for_routes(&balancer, "a", &["b"])?;
    poll::until("the witness to belong", poll::PATIENCE, || {
        Ok(a.status()?
            .view
            .is_some_and(|view| view.nodes.len() == 3 && view.no_failover.is_none())
            .then_some(()))
    })?;
    b.kill()?;
    wait_for_routes(&balancer, "a", &["a"])?;
    // Without a majority it commits no more, and does not know whether others do.
    witness.stop()?;
    poll::until("nobody to write at", poll::PATIENCE, || {
        Ok(served_by(balancer.zeo(), false)?.is_none().then_some(()))
    })?;
    poll::until("reads all the same", poll::PATIENCE, || {
        Ok((readers(&balancer)? == BTreeSet::from(["a".to_owned()])).then_some(()))
    })?;
    a.stop()
}
