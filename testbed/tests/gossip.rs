//! What the nodes of a cluster know of each other, what their clients are told, and what hostile networks can do about it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use standby_control::{MemberState, Role, View};
use standby_testbed::cluster::{Follows, Node, SECRET};
use standby_testbed::decided::{cluster, commit, primary, wait_for_followers};
use standby_testbed::script::Script;
use standby_testbed::{place, poll};

fn view(node: &Node) -> Result<View> {
    node.status()?.view.with_context(|| format!("node {} has no view", node.name))
}

fn logs(nodes: &[Node]) -> String {
    nodes.iter().map(|node| node.log().unwrap_or_default()).collect::<Vec<_>>().join("\n---\n")
}

/// Waits until what each of these nodes sees is as described.
fn all_see(nodes: &[&Node], what: &str, holds: impl Fn(&View) -> bool) -> Result<()> {
    for node in nodes {
        let mut last = None;
        let waited = poll::until(&format!("{} to see {what}", node.name), poll::PATIENCE, || {
            let seen = view(node)?;
            let done = holds(&seen).then_some(());
            last = Some(seen);
            Ok(done)
        });
        waited.with_context(|| format!("{last:#?}\n{}", node.log().unwrap_or_default()))?;
    }
    Ok(())
}

fn state(view: &View, name: &str) -> Option<MemberState> {
    view.nodes.iter().find(|node| node.name == name).map(|node| node.state)
}

/// Everybody is there, and says what it does.
fn is_whole(view: &View) -> bool {
    let is_there = |node: &standby_control::MemberStatus| {
        let part = if view.primary.as_ref() == Some(&node.name) { Role::Primary } else { Role::Replica };
        node.state == MemberState::Alive && node.role == Some(part)
    };
    view.nodes.len() == 3 && view.nodes.iter().all(is_there)
}

#[test]
fn every_node_shows_who_is_there_who_failed_and_who_left() -> Result<()> {
    let folder = place::scratch("gossip")?;
    let mut nodes = cluster(folder.path(), "")?;
    let last = commit(&nodes, 1, 3)?;
    let has_last = |view: &View| {
        let is_last = |node: &standby_control::MemberStatus| node.last_tid == Some(last.to_string());
        view.nodes.iter().all(|node| is_last(node) && node.zeo.is_some() && node.zeo_ro.is_some())
    };
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "everybody, with the last transaction", |view| is_whole(view) && has_last(view))?;
    ensure!(view(a)?.no_failover.is_none() && !view(a)?.clock_off, "{:#?}", view(a)?);
    let shown = standby_admin::style::plain(&standby_admin::status::shown(&a.status()?));
    ensure!(shown.contains("cluster testbed: epoch 1, primary a\n"), "{shown}");

    nodes[2].kill()?;
    let killed = Instant::now();
    let failed = |view: &View| state(view, "c") == Some(MemberState::Failed);
    all_see(&[&nodes[0], &nodes[1]], "that c failed", failed)?;
    eprintln!("a killed node was seen to have failed after {:?}", killed.elapsed());
    nodes[2].start()?;
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "c again", is_whole)?;
    let gone = view(a)?.nodes.iter().find(|node| node.name == "c").map(|node| node.gone);
    ensure!(gone == Some(1), "{gone:?}");

    nodes[1].stop()?;
    let left = |view: &View| state(view, "b") == Some(MemberState::Left);
    all_see(&[&nodes[0], &nodes[2]], "that b left", left)
}

#[test]
fn connected_stock_clients_are_told_of_a_new_replica_and_of_a_new_primary_without_reconnecting() -> Result<()>
{
    for (encoding, letter) in [("pickle", "Z"), ("msgpack", "M")] {
        let folder = place::scratch("gossip")?;
        let watch = |address: SocketAddr, mode: &str| {
            let mut client = Script::start("gossip.py", ["watch", &address.to_string(), letter, mode])?;
            client.hear("connected")?;
            anyhow::Ok(client)
        };
        let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
        a.set_encoding(encoding);
        a.configure(Follows::Decided(None))?;
        a.init()?;
        a.start()?;
        let mut writer = watch(a.zeo(), "writer")?;
        told(&mut writer, "one node", |told| {
            told["nodes"].as_object().is_some_and(|nodes| nodes.len() == 1)
        })?;
        commit_by(&mut writer)?;

        let mut joined = Vec::new();
        for name in ["b", "c"] {
            let mut node = Node::new(folder.path(), name, Follows::Decided(Some(&a)))?;
            node.set_encoding(encoding);
            node.configure(Follows::Decided(Some(&a)))?;
            node.start()?;
            let (zeo, zeo_ro) = (node.zeo().to_string(), node.zeo_ro().to_string());
            let expected = serde_json::json!(["replica", "alive", zeo, zeo_ro]);
            told(&mut writer, "the new replica, and where it is", |told| told["nodes"][name] == expected)?;
            joined.push(node);
        }
        let now = told(&mut writer, "its primary", |told| told["primary"] == "a")?;
        ensure!(now["cluster"] == "testbed" && now["epoch"] == 1, "{now}");
        commit_by(&mut writer)?;
        let [b, c] = joined.try_into().map_err(|_| anyhow::anyhow!("two nodes"))?;
        let nodes = [a, b, c];
        wait_for_followers(&nodes)?;

        // A read-only client of a replica, which comes later, is told at once, and again when something changes.
        let mut reader = watch(nodes[1].zeo_ro(), "reader")?;
        told(&mut reader, "all nodes", |told| {
            told["nodes"].as_object().is_some_and(|nodes| nodes.len() == 3)
        })?;
        writer.tell("stop")?;
        writer.end()?;
        let [mut a, _b, _c] = nodes;
        a.kill()?;
        let now = told(&mut reader, "another primary, and that the old one failed", |told| {
            told["epoch"] == 2 && told["primary"] != "a" && told["nodes"]["a"][1] == "failed"
        })?;
        let primary = now["primary"].as_str().unwrap_or_default().to_owned();
        ensure!(now["nodes"][&primary][0] == "primary" && now["nodes"]["a"][0] == "replica", "{now}");
        reader.tell("stop")?;
        reader.end()?;
    }
    Ok(())
}

fn commit_by(client: &mut Script) -> Result<()> {
    client.tell("commit")?;
    client.hear("committed").map(drop)
}

/// Asks the client until what it was told is as described.
fn told(client: &mut Script, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let waited = poll::until(&format!("a client to be told of {what}"), poll::PATIENCE, || {
        client.tell("told?")?;
        last = serde_json::from_str(&client.hear("told: ")?)?;
        Ok(holds(&last).then(|| last.clone()))
    });
    waited.with_context(|| format!("{last:#}"))
}

#[test]
fn a_cluster_that_cannot_lose_a_node_says_so() -> Result<()> {
    let folder = place::scratch("gossip")?;
    let mut a = Node::new(folder.path(), "a", Follows::Decided(None))?;
    a.init()?;
    a.start()?;
    let alone = "no automatic failover: this cluster has one voter, which is alone";
    all_see(&[&a], "that it is alone", |view| view.no_failover.as_deref() == Some(alone))?;
    let mut b = Node::new(folder.path(), "b", Follows::Decided(Some(&a)))?;
    b.start()?;
    let two = "no automatic failover: with two voters, the loss of one leaves no majority";
    all_see(&[&a, &b], "that both are needed", |view| view.no_failover.as_deref() == Some(two))?;
    let shown = standby_admin::style::plain(&standby_admin::status::shown(&b.status()?));
    ensure!(shown.contains(two), "{shown}");
    a.wait_for_log(two)?;
    // At the start, too.
    b.stop()?;
    let before = b.log()?.matches(two).count();
    b.start()?;
    poll::until("the warning at the start", poll::PATIENCE, || {
        Ok((b.log()?.matches(two).count() > before).then_some(()))
    })
}

/// How the cluster is, as far as intruders could change it.
fn shape(nodes: &[Node; 3]) -> Result<(u64, Option<String>, usize)> {
    let view = view(&nodes[0])?;
    Ok((view.epoch, view.primary, view.nodes.len()))
}

fn lines_with(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

/// A genuine datagram of a node, as it would send it to another.
fn overheard(socket: &UdpSocket) -> Result<Vec<u8>> {
    let mut datagram = vec![0; 4096];
    let (length, _) =
        socket.recv_from(&mut datagram).context("a node called the address that it was given")?;
    datagram.truncate(length);
    Ok(datagram)
}

#[test]
fn hostile_datagrams_and_foreign_nodes_change_nothing() -> Result<()> {
    let folder = place::scratch("gossip")?;
    let listener = UdpSocket::bind("127.0.0.1:0")?;
    listener.set_read_timeout(Some(poll::PATIENCE))?;
    // Each node of the cluster calls the test, too: that is how it overhears what they send.
    let mut nodes = cluster(folder.path(), "acks = 1")?;
    nodes[0].stop()?;
    nodes[0].set_cluster(&format!("join = [\"{}\"]\n", listener.local_addr()?));
    nodes[0].configure(Follows::Decided(None))?;
    nodes[0].start()?;
    primary(&nodes)?;
    wait_for_followers(&nodes)?;
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "everybody", is_whole)?;
    let (before, began) = (shape(&nodes)?, Instant::now());
    let target = nodes[1].peer();

    // Overheard, changed, cut, repeated.
    let genuine: Vec<Vec<u8>> = (0..3).map(|_| overheard(&listener)).collect::<Result<_>>()?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    let mut sent = 0;
    let mut send = |datagram: &[u8]| {
        sent += 1;
        sender.send_to(datagram, target).map(drop)
    };
    for datagram in &genuine {
        ensure!(datagram.len() <= 1232, "{} bytes", datagram.len());
        for _ in 0..50 {
            send(datagram)?;
        }
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 1 << (place % 8);
            send(&changed)?;
            send(&datagram[..place])?;
        }
    }
    // Made up: no magic, only the magic, a whole header with nothing behind it, too long.
    for length in [0, 1, 4, 27, 28, 44, 100, 1232, 1233, 2048, 9_000, 60_000] {
        send(&vec![0; length])?;
        let mut ours = b"SbG1".to_vec();
        ours.resize(length.max(4), 0xa5);
        send(&ours)?;
    }
    ensure!(sent > 500, "{sent}");
    nodes[1].wait_for_log("refused a datagram")?;
    nodes[1].wait_for_log("it was received before")?;

    // Nodes of another secret, or of another cluster with the same secret, that take this cluster for their own.
    let mut foreign = Vec::new();
    for (name, cluster, secret) in
        [("x", "testbed", "another secret of the testbed"), ("y", "another", SECRET)]
    {
        let mut node = Node::new(folder.path(), name, Follows::Decided(None))?;
        node.set_identity(cluster, secret);
        node.configure(Follows::Decided(None))?;
        node.init()?;
        node.set_cluster(&format!("join = [\"{}\", \"{}\"]\n", nodes[0].peer(), target));
        node.configure(Follows::Decided(None))?;
        node.start()?;
        foreign.push(node);
    }
    // And one that knows the cluster's address and nothing else.
    let mut stranger = Node::new(folder.path(), "z", Follows::Decided(Some(&nodes[0])))?;
    stranger.set_identity("testbed", "yet another secret of the testbed");
    stranger.configure(Follows::Decided(Some(&nodes[0])))?;
    stranger.start()?;
    stranger.wait_for_log("cannot join yet")?;
    nodes[0].wait_for_log("refused a peer connection")?;
    nodes[0].wait_for_log("refused a datagram")?;

    // They had time to do harm.
    let last = commit(&nodes, 7, 50)?;
    poll::until("many refusals", poll::PATIENCE, || {
        Ok((began.elapsed() > Duration::from_secs(6)).then_some(()))
    })?;
    wait_for_followers(&nodes)?;
    ensure!(shape(&nodes)? == before, "{:?} and {before:?}", shape(&nodes)?);
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "everybody", is_whole)?;
    for node in &foreign {
        let seen = view(node)?;
        ensure!(seen.nodes.len() == 1, "{seen:#?}");
    }
    let has_last = |view: &View| view.nodes.iter().all(|node| node.last_tid == Some(last.to_string()));
    all_see(&[a, b, c], "the last transaction", has_last)?;
    // Told of, and not once each.
    let seconds = began.elapsed().as_secs() as usize;
    for node in [a, b] {
        let told = lines_with(&node.log()?, "refused a datagram");
        ensure!(told >= 1 && told <= seconds + 2, "{told} lines in {seconds} s\n{}", node.log()?);
    }
    ensure!(!logs(&nodes).contains("panicked"), "{}", logs(&nodes));
    Ok(())
}

#[test]
fn malformed_messages_of_peers_change_nothing() -> Result<()> {
    use std::io::{Read, Write};

    let folder = place::scratch("gossip")?;
    let nodes = cluster(folder.path(), "acks = 1")?;
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "everybody", is_whole)?;
    let before = shape(&nodes)?;
    let target: SocketAddr = nodes[primary(&nodes)?].peer();
    // Of somebody without the secret: hung up on.
    for garbage in
        [vec![0; 1], vec![0xff; 10_000], b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0x16, 3, 1, 2, 0]]
    {
        let mut stream = TcpStream::connect(target)?;
        stream.set_read_timeout(Some(poll::PATIENCE))?;
        let _ = stream.write_all(&garbage); // it may hang up before the end
        stream.shutdown(std::net::Shutdown::Write).ok();
        let ended = stream.read_to_end(&mut Vec::new());
        ensure!(
            ended.as_ref().map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true),
            "{ended:?}"
        );
    }
    // Of a peer that has it, and says what means nothing, or what it may not.
    tokio::runtime::Runtime::new()?.block_on(mean_nothing(&target.to_string()))?;
    commit(&nodes, 3, 20)?;
    wait_for_followers(&nodes)?;
    ensure!(shape(&nodes)? == before, "{:?} and {before:?}", shape(&nodes)?);
    let [a, b, c] = &nodes;
    all_see(&[a, b, c], "everybody", is_whole)?;
    ensure!(!logs(&nodes).contains("panicked"), "{}", logs(&nodes));
    Ok(())
}

/// A question as a node writes it that belongs to no cluster yet.
fn letter(question: &[u8]) -> Vec<u8> {
    [b"{\"charter\":null,\"from\":7,\"question\":", question, b"}"].concat()
}

async fn mean_nothing(target: &str) -> Result<()> {
    use standby::peer::{ChannelOptions, Hello, Identity, dial};

    let hello = |cluster: &str| Hello {
        cluster: cluster.to_owned(),
        node: "mallory".to_owned(),
        group: "local".to_owned(),
        features: vec!["electable".to_owned()],
    };
    let foreign = Identity::new(hello("another"), SECRET.as_bytes())?;
    ensure!(dial(target, &foreign).await.is_err(), "another cluster's node came in");
    let identity = Identity::new(hello("testbed"), SECRET.as_bytes())?;
    let options = ChannelOptions { window_bytes: 1 << 20, message_bytes_max: 1 << 20 };
    let limit = Duration::from_secs(20);
    for _ in 0..3 {
        let connection = dial(target, &identity).await?;
        let decisions = connection.open("decisions", options).await?;
        for question in [
            &b""[..],
            b"{",
            b"null",
            b"\"Anything\"",
            b"{\"Vote\":{}}",
            b"{\"Append\":{\"vote\":1}}",
            b"{\"Propose\":{\"Promote\":{\"node\":\"x\"}}}",
            &[0xff; 100_000],
        ] {
            for question in [question.to_vec(), letter(question)] {
                let answer = decisions.call(question.clone().into(), limit).await;
                let refused = answer.as_ref().is_err_and(|error| error.to_string().contains("means nothing"));
                ensure!(refused, "{question:?}: {answer:?}");
            }
        }
        // One that is understood has its answer still: that a stranger has no say.
        let answer = decisions.call(letter(b"\"Standing\"").into(), limit).await;
        let refused = answer.as_ref().is_err_and(|error| error.to_string().contains("belongs to no cluster"));
        ensure!(refused, "{answer:?}");
        for name in ["", "stream:", "stream:none", "stream:1", "nonsense"] {
            let Ok(channel) = connection.open(name, options).await else { continue };
            let _ = channel.send(vec![0xff; 5_000].into()).await; // refused, sooner or later
            let _ =
                tokio::time::timeout(Duration::from_secs(5), channel.call([0][..].to_vec().into(), limit))
                    .await;
        }
        connection.close("that was it");
    }
    Ok(())
}
