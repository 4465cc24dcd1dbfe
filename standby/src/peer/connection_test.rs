//! Connections as the service uses them, over memory and over TCP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn hello(node: &str) -> Hello {
    let name = str::to_owned;
    Hello { cluster: name("plone"), node: name(node), group: name("berlin"), features: vec![name("zstd")] }
}

fn identity(node: &str) -> Identity {
    Identity::new(hello(node), b"secret").unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("done in time")
}

/// Two nodes that are connected, and what each accepts.
async fn connected(left: Identity, right: Identity) -> (Connection, Connection) {
    let (one, other) = pair();
    let (one, other) = soon(async { tokio::join!(connect(one, &left), accept(other, &right)) }).await;
    (one.unwrap(), other.unwrap())
}

async fn two() -> (Connection, Connection) {
    connected(identity("a"), identity("b")).await
}

/// A channel that one opens and the other accepts.
async fn channel(one: &Connection, other: &Connection, options: ChannelOptions) -> (Channel, Channel) {
    let accepted = async { other.next_opening().await.expect("asked for").accept(options).unwrap() };
    let (opened, accepted) = soon(async { tokio::join!(one.open("stream:main", options), accepted) }).await;
    (opened.unwrap(), accepted)
}

async fn message(channel: &mut Channel) -> Bytes {
    match soon(channel.recv()).await {
        Ok(Some(Incoming::Message(message))) => message,
        other => panic!("{other:?} is no message"),
    }
}

async fn request(channel: &mut Channel) -> Request {
    match soon(channel.recv()).await {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("{other:?} is no request"),
    }
}

#[tokio::test]
async fn nodes_of_one_cluster_learn_who_the_other_is() {
    let (one, other) = two().await;
    assert_eq!((one.remote(), other.remote()), (&hello("b"), &hello("a")));
    assert_eq!((one.version(), other.version()), (1, 1));
}

#[tokio::test]
async fn a_wrong_secret_or_cluster_name_is_refused_before_anything_is_said() {
    let foreign = Hello { cluster: "zope".to_owned(), ..hello("b") };
    for right in
        [Identity::new(hello("b"), b"another secret").unwrap(), Identity::new(foreign, b"secret").unwrap()]
    {
        let (one, other) = pair();
        let left = identity("a");
        let (dialer, listener) =
            soon(async { tokio::join!(connect(one, &left), accept(other, &right)) }).await;
        assert_eq!(dialer.err().unwrap().to_string(), "peer refused: wrong cluster secret or name");
        assert!(matches!(listener, Err(ConnectError::Refuses(Refusal::WrongSecret))));
    }
}

#[tokio::test]
async fn a_node_of_the_same_name_and_one_that_wants_no_encryption_are_refused() {
    let checksum = identity("b").with_protection(Protection::Checksum);
    for (right, refusal) in [(identity("a"), Refusal::SameNode), (checksum, Refusal::OtherProtection)] {
        let (one, other) = pair();
        let left = identity("a");
        let (dialer, listener) =
            soon(async { tokio::join!(connect(one, &left), accept(other, &right)) }).await;
        assert!(matches!(dialer, Err(ConnectError::Refused(said)) if said == refusal));
        assert!(matches!(listener, Err(ConnectError::Refuses(said)) if said == refusal));
    }
}

#[tokio::test]
async fn a_recorded_handshake_opens_nothing_when_it_is_repeated() {
    let (recorder, listener) = pair();
    let (dialer, middle) = pair();
    let (mut to_listener, _from_listener) = recorder.split();
    let (_to_dialer, mut from_dialer) = middle.split();
    let (left, right) = (identity("a"), identity("b"));
    let dialing = tokio::spawn(async move { connect(dialer, &left).await.map(|_| ()) });
    let first = soon(from_dialer.next(RECORD_BYTES_MAX)).await.unwrap().unwrap().to_vec();
    for record in [first.as_slice(), &[7; 64]] {
        to_listener.push(record.len(), |out| {
            out.copy_from_slice(record);
            record.len()
        });
    }
    soon(to_listener.flush()).await.unwrap();
    let result = soon(accept(listener, &right)).await;
    assert!(matches!(result, Err(ConnectError::Refuses(Refusal::WrongSecret))));
    dialing.abort();
}

#[tokio::test]
async fn other_protocols_and_silence_are_turned_away_in_time() {
    let limits = PeerLimits { handshake: Duration::from_millis(100), ..PeerLimits::default() };
    let own = identity("a").with_limits(limits);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    for (said, not_a_peer) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], true),
        (b"\0\0\0\x04ruok", true),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", true),
        (b"\0\x08SBYQ\x01\x01ab", true),
        (b"\0\x40SBYP", false),
        (b"", false),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said).await.unwrap();
        let (stream, _) = socket.accept().await.unwrap();
        let error = soon(accept(TcpTransport::new(stream), &own)).await.err().unwrap();
        match error {
            ConnectError::NotAPeer => assert!(not_a_peer, "{said:?}"),
            ConnectError::TimedOut(_) => assert!(!not_a_peer, "{said:?}"),
            other => panic!("{other:?} to {said:?}"),
        }
        let _ = soon(client.read_to_end(&mut Vec::new())).await; // closed
    }
}

#[tokio::test]
async fn messages_of_all_lengths_arrive_whole_and_in_order() {
    let (one, other) = two().await;
    let options = ChannelOptions { window_bytes: 100_000, message_bytes_max: 1 << 20 };
    let (mut left, mut right) = channel(&one, &other, options).await;
    let lengths =
        [0, 1, 1000, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 300_000, 1 << 20, 5];
    let content = |length: usize| Bytes::from_iter((0..length).map(|at| (at * 31 + length) as u8));
    let send = async {
        for length in lengths {
            left.send(content(length)).await.unwrap();
        }
        left.finish();
    };
    let receive = async {
        for length in lengths {
            assert!(message(&mut right).await == content(length), "{length}");
        }
        assert!(matches!(right.recv().await, Ok(None)));
        right.send(Bytes::from_static(b"the other way is open")).await.unwrap();
        right.finish();
    };
    soon(async { tokio::join!(send, receive) }).await;
    assert_eq!(message(&mut left).await, "the other way is open");
    assert!(matches!(soon(left.recv()).await, Ok(None)));
    assert_eq!(left.send(Bytes::new()).await, Err(ChannelError::Finished));
}

#[tokio::test]
async fn a_message_larger_than_the_peer_takes_is_an_error_of_its_sender() {
    let (one, other) = two().await;
    let options = ChannelOptions { message_bytes_max: 100, ..ChannelOptions::default() };
    let (left, mut right) = channel(&one, &other, options).await;
    let too_large = ChannelError::TooLarge { bytes: 101, bytes_max: 100 };
    assert_eq!(left.send(vec![0; 101].into()).await, Err(too_large.clone()));
    assert_eq!(left.call(vec![0; 101].into(), SOON).await, Err(CallError::Channel(too_large.clone())));
    let (answer, ()) = tokio::join!(left.call("?".into(), SOON), async {
        assert_eq!(request(&mut right).await.answer(vec![0; 101].into()).await, Err(too_large.clone()));
    });
    assert_eq!(answer, Err(CallError::Failed(too_large.to_string())));
}

#[tokio::test]
async fn a_channel_that_nobody_reads_stops_no_other() {
    let (one, other) = two().await;
    let options = ChannelOptions { window_bytes: 8192, message_bytes_max: 1 << 20 };
    let (stalled, _unread) = channel(&one, &other, options).await;
    let (busy, mut read) = channel(&one, &other, options).await;
    let stall = tokio::spawn(async move {
        loop {
            stalled.send(vec![1; 100_000].into()).await.unwrap();
        }
    });
    for number in 0..100u32 {
        soon(busy.send(Bytes::copy_from_slice(&number.to_be_bytes()))).await.unwrap();
        assert_eq!(message(&mut read).await, number.to_be_bytes()[..]);
    }
    assert!(!stall.is_finished());
    stall.abort();
}

#[tokio::test]
async fn a_channel_that_nobody_serves_is_refused_with_a_reason() {
    let (one, other) = two().await;
    let serve = tokio::spawn(async move {
        other.next_opening().await.unwrap().refuse("not for you");
        drop(other.next_opening().await.unwrap());
        other.closed().await
    });
    let refused = |reason: &str| Some(OpenChannelError::Refused(reason.to_owned()));
    assert_eq!(soon(one.open("secrets", ChannelOptions::default())).await.err(), refused("not for you"));
    assert_eq!(
        soon(one.open("stream:x", ChannelOptions::default())).await.err(),
        refused("nobody serves stream:x")
    );
    assert!(matches!(
        soon(one.open("", ChannelOptions::default())).await.err(),
        Some(OpenChannelError::Local(mux::OpenError::BadName))
    ));
    drop(one);
    assert_eq!(soon(serve).await.unwrap(), Disconnected::Left("not used any more".to_owned()));
}

#[tokio::test]
async fn requests_are_answered_in_any_order_from_many_tasks() {
    let (one, other) = two().await;
    let (left, mut right) = channel(&one, &other, ChannelOptions::small()).await;
    let (sender, _receiver) = left.split();
    let calls: Vec<_> = (0..200u32)
        .map(|number| {
            let sender = sender.clone();
            tokio::spawn(
                async move { sender.call(Bytes::copy_from_slice(&number.to_be_bytes()), SOON).await },
            )
        })
        .collect();
    let mut requests = Vec::new();
    for _ in 0..calls.len() {
        requests.push(request(&mut right).await);
    }
    for request in requests.into_iter().rev() {
        let body = request.body().clone();
        soon(request.answer(body)).await.unwrap();
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(soon(call).await.unwrap().unwrap(), (number as u32).to_be_bytes()[..]);
    }
}

#[tokio::test]
async fn a_request_fails_with_a_reason_whatever_its_server_does() {
    let (one, other) = two().await;
    let (left, mut right) = channel(&one, &other, ChannelOptions::small()).await;
    let call = || left.call("?".into(), SOON);

    let (failed, ()) =
        tokio::join!(call(), async { request(&mut right).await.fail("no such storage").await.unwrap() });
    assert_eq!(failed, Err(CallError::Failed("no such storage".to_owned())));

    let (dropped, ()) = tokio::join!(call(), async { drop(request(&mut right).await) });
    assert_eq!(dropped, Err(CallError::Failed("the request was dropped without an answer".to_owned())));

    let late = left.call("?".into(), Duration::from_millis(50)).await;
    assert_eq!(late, Err(CallError::Late(Duration::from_millis(50))));
    let forgotten = request(&mut right).await;
    forgotten.answer("nobody waits for it".into()).await.unwrap();

    let (finished, ()) = tokio::join!(call(), async {
        let _unanswered = request(&mut right).await;
        right.finish();
    });
    assert_eq!(finished, Err(CallError::Channel(ChannelError::Finished)));
    assert_eq!(call().await, Err(CallError::Channel(ChannelError::Finished)));
}

#[tokio::test]
async fn a_request_where_nobody_reads_any_more_fails_at_once() {
    let (one, other) = two().await;
    let (left, right) = channel(&one, &other, ChannelOptions::small()).await;
    let (sender, receiver) = right.split();
    drop(receiver);
    let failed = CallError::Failed("nobody answers here".to_owned());
    assert_eq!(soon(left.call("?".into(), SOON)).await, Err(failed));
    drop(sender);
    let error = soon(left.call("?".into(), SOON)).await.unwrap_err();
    assert!(matches!(error, CallError::Channel(_)), "{error:?}");
}

#[tokio::test]
async fn a_reset_tells_both_sides_why() {
    let (one, other) = two().await;
    let (mut left, mut right) = channel(&one, &other, ChannelOptions::small()).await;
    let (pending, ()) = tokio::join!(left.call("?".into(), SOON), async {
        let _unanswered = request(&mut right).await;
        right.reset("rewinding");
    });
    let reset = ChannelError::Reset("rewinding".to_owned());
    assert_eq!(pending, Err(CallError::Channel(reset.clone())));
    assert_eq!(soon(left.recv()).await.unwrap_err(), reset);
    assert_eq!(left.send("x".into()).await, Err(reset.clone()));
    assert_eq!(right.recv().await.unwrap_err(), reset);
    let (_again, _and_there) = channel(&one, &other, ChannelOptions::small()).await;
}

#[tokio::test]
async fn what_was_sent_before_a_channel_or_connection_was_dropped_arrives() {
    let (one, other) = two().await;
    let (left, mut right) = channel(&one, &other, ChannelOptions::default()).await;
    let (last, mut end) = channel(&one, &other, ChannelOptions::default()).await;
    for number in 0..50u8 {
        left.send(vec![number; 10_000].into()).await.unwrap();
        last.send(vec![number; 10_000].into()).await.unwrap();
    }
    drop(left);
    one.close("switching over");
    for number in 0..50u8 {
        assert_eq!(message(&mut right).await[0], number);
        assert_eq!(message(&mut end).await[0], number);
    }
    assert!(matches!(soon(right.recv()).await, Ok(None)));
    let left = Disconnected::Left("switching over".to_owned());
    assert_eq!(soon(end.recv()).await.unwrap_err(), ChannelError::Disconnected(left.clone()));
    assert_eq!(soon(other.closed()).await, left);
    assert_eq!(soon(one.closed()).await, Disconnected::Closed("switching over".to_owned()));
    assert!(soon(other.next_opening()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_in_time_where_the_peer_takes_nothing() {
    let (one, other) = two().await;
    let options = ChannelOptions { window_bytes: 4096, message_bytes_max: 1 << 20 };
    let (left, _unread) = channel(&one, &other, options).await;
    left.send(vec![0; 100_000].into()).await.unwrap();
    left.send(vec![0; 100_000].into()).await.unwrap();
    let start = tokio::time::Instant::now();
    one.close("stopping");
    assert_eq!(one.closed().await, Disconnected::Closed("stopping".to_owned()));
    assert!(
        start.elapsed() <= PeerLimits::default().linger + Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(other.closed().await, Disconnected::Left("stopping".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_out_and_its_requests_fail() {
    let (one, other) = pair();
    let left = identity("a").with_protection(Protection::Checksum);
    let right = identity("b").with_protection(Protection::Checksum);
    let silent = async {
        let (mut sink, mut source) = other.split();
        let established = handshake::greet(mux::Side::Listener, &right, &mut sink, &mut source).await;
        established.unwrap();
        (sink, source)
    };
    let (connection, (sink, mut source)) = tokio::join!(connect(one, &left), silent);
    let connection = connection.unwrap();
    let drain = tokio::spawn(async move { while let Ok(Some(_)) = source.next(RECORD_BYTES_MAX).await {} });
    let start = tokio::time::Instant::now();
    let end = Disconnected::Silent(PeerLimits::default().idle);
    let opened = connection.open("control", ChannelOptions::small()).await;
    assert_eq!(opened.err(), Some(OpenChannelError::Disconnected(end.clone())));
    assert_eq!(connection.closed().await, end);
    assert!(start.elapsed() < PeerLimits::default().idle + Duration::from_secs(1));
    drop((sink, drain));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_by_its_pings() {
    let (one, other) = two().await;
    tokio::time::sleep(PeerLimits::default().idle * 20).await;
    let (left, mut right) = channel(&one, &other, ChannelOptions::small()).await;
    left.send("still here".into()).await.unwrap();
    assert_eq!(message(&mut right).await, "still here");
    assert!(one.round_trip().is_some() && other.round_trip().is_some());
}

#[tokio::test]
async fn a_byte_that_changed_on_its_way_ends_the_connection() {
    for protection in [Protection::Noise, Protection::Checksum] {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener =
            PeerListener::bind("127.0.0.1:0", Arc::new(identity("b").with_protection(protection)))
                .await
                .unwrap();
        let (via, to) = (proxy.local_addr().unwrap().to_string(), listener.address().unwrap());
        tokio::spawn(async move {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut server = TcpStream::connect(to).await.unwrap();
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let forward = async {
                let (mut buffer, mut passed) = (vec![0; 4096], 0);
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    if passed < 20_000 && passed + count >= 20_000 {
                        buffer[20_000 - passed - 1] ^= 0x10; // within a message: all before is shorter
                    }
                    passed += count;
                    to_server.write_all(&buffer[..count]).await.unwrap();
                }
            };
            let _ = tokio::join!(forward, tokio::io::copy(&mut from_server, &mut to_client));
        });
        let left = identity("a").with_protection(protection);
        let (one, other) = soon(async { tokio::join!(dial(&via, &left), listener.next()) }).await;
        let one = one.unwrap();
        let (left, mut right) = channel(&one, &other, ChannelOptions::default()).await;
        left.send(vec![0; 50_000].into()).await.unwrap();
        assert!(matches!(
            soon(right.recv()).await,
            Err(ChannelError::Disconnected(Disconnected::Tampered(_)))
        ));
        soon(one.closed()).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_fails_what_is_pending_at_both_ends() {
    let mut listener = PeerListener::bind("127.0.0.1:0", Arc::new(identity("b"))).await.unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (via, to) = (proxy.local_addr().unwrap().to_string(), listener.address().unwrap());
    let link = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    let left = identity("a");
    let (one, other) = soon(async { tokio::join!(dial(&via, &left), listener.next()) }).await;
    let one = one.unwrap();
    let (left, mut right) = channel(&one, &other, ChannelOptions::default()).await;
    let (answer, unanswered) = tokio::join!(left.call("?".into(), SOON), async {
        let unanswered = request(&mut right).await;
        link.abort();
        unanswered
    });
    assert!(matches!(answer, Err(CallError::Disconnected(Disconnected::Lost(_)))), "{answer:?}");
    soon(other.closed()).await;
    assert!(matches!(unanswered.answer("!".into()).await, Err(ChannelError::Disconnected(_))));
    assert!(matches!(right.recv().await, Err(ChannelError::Disconnected(_))));
}

#[tokio::test]
async fn a_listener_serves_peers_while_others_stall_their_handshakes() {
    let limits = PeerLimits { handshakes_max: 4, ..PeerLimits::default() };
    let own = Arc::new(identity("b").with_limits(limits));
    let mut listener = PeerListener::bind("127.0.0.1:0", own).await.unwrap();
    let address = listener.address().unwrap().to_string();
    let mut stalling = Vec::new();
    for _ in 0..10 {
        stalling.push(TcpStream::connect(&address).await.unwrap());
    }
    let left = identity("a");
    let (one, other) = soon(async { tokio::join!(dial(&address, &left), listener.next()) }).await;
    assert_eq!(one.unwrap().remote().node, "b");
    assert_eq!(other.remote().node, "a");
}

#[tokio::test]
async fn dialing_nobody_says_so() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    assert!(matches!(soon(dial(&address, &identity("a"))).await, Err(ConnectError::Io(_))));
}
