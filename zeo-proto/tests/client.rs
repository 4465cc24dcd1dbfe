//! A client beside servers that do what real ones do seldom: each is a script that says what to answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeo_proto::client::{Backoff, Client, Error, Event, Events, Metadata, Options};
use zeo_proto::{
    Body, Encoder, Encoding, ErrorReply, Limits, Oid, Request, Tid, Value, decode_request, frame, handshake,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server does with a request.
enum Reaction {
    Answer(Value<'static>),
    Raise(ErrorReply),
    Nothing,
    HangUp,
}

/// What a server is like, and what it has been asked.
#[derive(Default)]
struct Script {
    /// What `register` answers with.
    last: u64,
    /// Current revisions: serials and data.
    objects: BTreeMap<u64, (u64, &'static str)>,
    /// Instead of what it would do by itself, by the method's name.
    instead: BTreeMap<&'static str, fn() -> Reaction>,
    /// What it tells of the cluster.
    view: Option<Value<'static>>,
    asked: Vec<String>,
    connections: usize,
}

/// A server that goes on until it is dropped.
struct Server {
    address: String,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
    pushes: tokio::sync::broadcast::Sender<(u64, Vec<u64>)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let script = Arc::new(Mutex::new(script));
        let pushes = tokio::sync::broadcast::Sender::new(100);
        let task = tokio::spawn({
            let (script, pushes) = (Arc::clone(&script), pushes.clone());
            async move {
                // Dropped with the task, and the connections with it.
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    script.lock().expect("no panic").connections += 1;
                    connections.spawn(serve(stream, Arc::clone(&script), pushes.subscribe()));
                }
            }
        });
        Self { address, script, task, pushes }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("no panic")
    }

    fn asked(&self, method: &str) -> usize {
        self.script().asked.iter().filter(|asked| *asked == method).count()
    }

    /// Others commit this.
    fn commit(&self, tid: u64, oids: &[u64], data: &'static str) {
        let mut script = self.script();
        script.last = tid;
        script.objects.extend(oids.iter().map(|oid| (*oid, (tid, data))));
        let _ = self.pushes.send((tid, oids.to_vec()));
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<Script>>,
    mut pushes: tokio::sync::broadcast::Receiver<(u64, Vec<u64>)>,
) -> Option<()> {
    let encoder = Encoder::new(Encoding::Msgpack);
    let mut out = Vec::new();
    frame::write(&mut out, |out| out.extend_from_slice(handshake::greeting(Encoding::Msgpack)));
    let mut input = bytes::BytesMut::new();
    let mut is_greeted = false;
    loop {
        stream.write_all(&out).await.ok()?;
        out.clear();
        tokio::select! {
            read = stream.read_buf(&mut input) => if read.ok()? == 0 { return None },
            Ok((tid, oids)) = pushes.recv() => {
                let oids: Vec<Oid> = oids.into_iter().map(Oid::new).collect();
                encoder.invalidate_transaction(&mut out, Tid::new(tid), &oids);
            }
        }
        while let Some(frame) = frame::split(&mut input, 1 << 20).ok()? {
            if !is_greeted {
                is_greeted = true;
                continue;
            }
            let message = decode_request(Encoding::Msgpack, &frame, &Limits::default()).expect("a request");
            let Body::Request(request) = message.body else { continue };
            let mut script = script.lock().expect("no panic");
            script.asked.push(request.method().to_owned());
            match react(&mut script, request) {
                Reaction::Answer(value) if !message.oneway => encoder.reply(&mut out, &message.msgid, &value),
                Reaction::Raise(error) if !message.oneway => encoder.error(&mut out, &message.msgid, &error),
                Reaction::HangUp => return None,
                _ => {}
            }
        }
    }
}

fn react(script: &mut Script, request: Request<'_>) -> Reaction {
    if let Some(instead) = script.instead.get(request.method()) {
        return instead();
    }
    Reaction::Answer(match request {
        Request::Register { .. } | Request::LastTransaction => Tid::new(script.last).into(),
        Request::GetInfo => {
            Value::Dict(script.view.iter().map(|view| ("standby".into(), view.clone())).collect())
        }
        Request::GetInvalidations { tid } => {
            let changed = script.objects.iter().filter(|(_, (serial, _))| *serial > tid.get());
            let oids = changed.map(|(oid, _)| Value::from(Oid::new(*oid))).collect();
            Value::Tuple(vec![Tid::new(script.last).into(), Value::List(oids)])
        }
        Request::LoadBefore { oid, .. } => match script.objects.get(&oid.get()) {
            Some((serial, data)) => {
                Value::Tuple(vec![data.as_bytes().into(), Tid::new(*serial).into(), Value::None])
            }
            None => return Reaction::Raise(ErrorReply::PosKey(oid)),
        },
        Request::Vote { .. } => Value::List(vec![]),
        Request::TpcFinish { .. } => {
            script.last += 1;
            Tid::new(script.last).into()
        }
        _ => Value::None,
    })
}

fn options(servers: &[&Server]) -> Options {
    let backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50) };
    Options { backoff, wait: PATIENCE, ..Options::new(servers.iter().map(|server| &*server.address)) }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The next event that is of the kind that is looked for.
async fn event<T>(events: &mut Events, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = wanted(events.next().await.expect("the client is there")) {
                return found;
            }
        }
    })
    .await
}

async fn load(client: &Client, oid: u64) -> String {
    let loaded = client.load_before(Oid::new(oid), Tid::MAX).await.expect("it answers").expect("it is there");
    String::from_utf8_lossy(&loaded.data).into_owned()
}

fn objects(objects: &[(u64, u64, &'static str)]) -> BTreeMap<u64, (u64, &'static str)> {
    objects.iter().map(|(oid, serial, data)| (*oid, (*serial, *data))).collect()
}

async fn write(client: &Client) -> Result<Tid, Error> {
    let mut transaction = client.begin(Metadata::default()).await?;
    transaction.store(Oid::new(1), None, b"mine");
    transaction.commit().await
}

#[tokio::test]
async fn what_was_read_or_written_is_read_again_without_the_server_until_others_change_it() {
    let server =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "old")]), ..Script::default() }).await;
    let client = Client::start(options(&[&server]));
    let mut events = client.events();
    assert_eq!(load(&client, 2).await, "old");
    let before = client.snapshot().await.expect("connected");
    let tid = write(&client).await.expect("committed");
    assert_eq!((tid, client.last_tid()), (Tid::new(6), Tid::new(6)));
    assert_eq!((load(&client, 1).await.as_str(), load(&client, 2).await.as_str()), ("mine", "old"));
    assert_eq!(server.asked("loadBefore"), 1, "all others come out of the cache");
    server.commit(7, &[2], "new");
    let told = event(&mut events, "the invalidation", |event| match event {
        Event::Invalidated(told) => Some(told),
        _ => None,
    });
    assert_eq!(told.await.oids, [Oid::new(2)]);
    assert_eq!(load(&client, 2).await, "new");
    let then = before.load(Oid::new(2)).await.expect("it answers").expect("it was there");
    assert_eq!((&then.data[..], then.end), (&b"old"[..], Some(Tid::new(7))));
    assert_eq!(server.asked("loadBefore"), 2);
}

#[tokio::test]
async fn the_first_snapshot_waits_for_the_first_connection() {
    let server =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "x")]), ..Script::default() }).await;
    let client = Client::start(options(&[&server]));
    let snapshot = within("a connection", client.snapshot()).await.expect("connected");
    assert_eq!(snapshot.before(), Tid::new(6));
    assert!(snapshot.load(Oid::new(2)).await.expect("it answers").is_some());
}

#[tokio::test]
async fn equal_loads_at_one_time_share_one_request() {
    let server =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "x")]), ..Script::default() }).await;
    let client = Client::start(Options { cache_bytes: 0, ..options(&[&server]) });
    client.connected().await.expect("connected");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        tasks.spawn(async move { load(&client, 2).await });
    }
    assert!(tasks.join_all().await.iter().all(|data| data == "x"));
    assert!(server.asked("loadBefore") < 20, "{} requests for 100 loads", server.asked("loadBefore"));
}

#[tokio::test]
async fn a_transaction_that_was_being_finished_is_unknown_and_one_before_that_is_not_committed() {
    let hang_up = || Reaction::HangUp;
    for (method, is_unknown) in [("vote", false), ("tpc_finish", true)] {
        let instead = BTreeMap::from([(method, hang_up as fn() -> Reaction)]);
        let server = Server::start(Script { last: 5, instead, ..Script::default() }).await;
        let client = Client::start(options(&[&server]));
        let error = within("the end of it", write(&client)).await.expect_err("cut off");
        assert_eq!(matches!(error, Error::OutcomeUnknown(_)), is_unknown, "{method}: {error}");
        assert_eq!(matches!(error, Error::Disconnected(_)), !is_unknown, "{method}: {error}");
        server.script().instead.clear();
        within("another try", write(&client)).await.expect("it is connected again by itself");
    }
}

#[tokio::test]
async fn a_server_that_fails_to_finish_leaves_the_outcome_unknown_and_one_that_knows_of_no_vote_does_not() {
    let fails = || Reaction::Raise(ErrorReply::Other { class: "builtins.OSError".into(), args: vec![] });
    let refuses = || Reaction::Raise(ErrorReply::Assertion(None));
    for (finish, is_unknown) in [(fails as fn() -> Reaction, true), (refuses, false)] {
        let instead = BTreeMap::from([("tpc_finish", finish)]);
        let server = Server::start(Script { last: 5, instead, ..Script::default() }).await;
        let client = Client::start(options(&[&server]));
        let error = within("the answer", write(&client)).await.expect_err("it fails");
        assert_eq!(matches!(error, Error::OutcomeUnknown(_)), is_unknown, "{error}");
        assert_eq!(matches!(error, Error::Refused(_)), !is_unknown, "{error}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_after_its_vote_is_given_up_before_the_next_begins() {
    let server = Server::start(Script { last: 5, ..Script::default() }).await;
    let client = Client::start(options(&[&server]));
    let mut transaction = client.begin(Metadata::default()).await.expect("connected");
    transaction.store(Oid::new(1), None, b"mine");
    transaction.vote().await.expect("a vote");
    drop(transaction);
    write(&client).await.expect("committed");
    let asked = server.script().asked.clone();
    let ends: Vec<_> = asked.iter().filter(|method| method.starts_with("tpc_")).collect();
    assert_eq!(ends, ["tpc_begin", "tpc_abort", "tpc_begin", "tpc_finish"]);
}

#[tokio::test]
async fn a_transaction_goes_on_when_nobody_else_has_the_client_any_more() {
    let server = Server::start(Script { last: 5, ..Script::default() }).await;
    let client = Client::start(options(&[&server]));
    let mut transaction = client.begin(Metadata::default()).await.expect("connected");
    drop(client);
    transaction.store(Oid::new(1), None, b"mine");
    assert_eq!(within("the answer", transaction.commit()).await.expect("committed"), Tid::new(6));
}

#[tokio::test]
async fn after_a_reconnection_what_has_changed_is_read_anew_and_the_rest_is_kept() {
    let all = [(1, 4, "one"), (2, 5, "two")];
    let first = Server::start(Script { last: 5, objects: objects(&all), ..Script::default() }).await;
    let all = [(1, 7, "changed"), (2, 5, "two")];
    let second = Server::start(Script { last: 7, objects: objects(&all), ..Script::default() }).await;
    // As a node that keeps its clients waiting: it lets nobody in yet.
    second.script().instead.insert("register", || Reaction::HangUp);
    let client = Client::start(options(&[&first, &second]));
    let mut events = client.events();
    assert_eq!((load(&client, 1).await.as_str(), load(&client, 2).await.as_str()), ("one", "two"));
    let snapshot = client.snapshot().await.expect("connected");
    second.script().instead.clear();
    drop(first);
    let told = event(&mut events, "what has changed", |event| match event {
        Event::CaughtUp(told) => Some(told.oids.clone()),
        _ => None,
    });
    assert_eq!(told.await, [Oid::new(1)]);
    client.connected().await.expect("the second one");
    assert_eq!((load(&client, 1).await.as_str(), load(&client, 2).await.as_str()), ("changed", "two"));
    assert_eq!(second.asked("loadBefore"), 1);
    assert!(snapshot.load(Oid::new(2)).await.is_ok(), "the same history goes on");
}

#[tokio::test]
async fn when_the_server_cannot_tell_what_has_changed_nothing_that_was_read_before_is_believed() {
    let first =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "lost")]), ..Script::default() }).await;
    let second =
        Server::start(Script { last: 9, objects: objects(&[(2, 3, "true")]), ..Script::default() }).await;
    second.script().instead.insert("register", || Reaction::HangUp);
    let client = Client::start(options(&[&first, &second]));
    let mut events = client.events();
    assert_eq!(load(&client, 2).await, "lost");
    let snapshot = client.snapshot().await.expect("connected");
    second.script().instead =
        BTreeMap::from([("getInvalidations", (|| Reaction::Answer(Value::None)) as fn() -> _)]);
    drop(first);
    let dropped = event(&mut events, "the news", |event| (event == Event::HistoryChanged).then_some(()));
    dropped.await;
    client.connected().await.expect("the second one");
    assert_eq!(load(&client, 2).await, "true");
    assert!(matches!(snapshot.load(Oid::new(2)).await, Err(Error::HistoryChanged)));
    assert_eq!(client.last_tid(), Tid::new(9));
}

#[tokio::test]
async fn a_server_that_lacks_what_was_seen_is_not_used_until_it_is_clear_that_it_will_not_catch_up() {
    let first =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "lost")]), ..Script::default() }).await;
    let client = Client::start(Options { behind: Duration::from_millis(300), ..options(&[&first]) });
    let mut events = client.events();
    assert_eq!(load(&client, 2).await, "lost");
    {
        let mut script = first.script();
        (script.last, script.objects) = (4, objects(&[(2, 3, "true")]));
        script.instead.insert("ping", || Reaction::HangUp);
    }
    let began = std::time::Instant::now();
    assert!(client.ask(zeo_proto::client::calls::ping()).await.is_err());
    event(&mut events, "the news", |event| (event == Event::HistoryChanged).then_some(())).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "it was given time to catch up");
    client.connected().await.expect("after all");
    assert_eq!((load(&client, 2).await.as_str(), client.last_tid()), ("true", Tid::new(4)));
    assert!(first.script().connections > 2, "it was tried again and again");
}

#[tokio::test]
async fn a_server_from_which_nothing_comes_is_left_and_one_that_only_answers_pings_is_not() {
    let server = Server::start(Script { last: 5, ..Script::default() }).await;
    let client = Client::start(Options { silence: Duration::from_millis(200), ..options(&[&server]) });
    let mut events = client.events();
    client.connected().await.expect("connected");
    server.script().instead.insert("vote", || Reaction::Nothing);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { write(&client).await }
    });
    within("pings", async {
        while server.asked("ping") < 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!waiting.is_finished(), "it waits for others, on a server that lives");
    server.script().instead.insert("ping", || Reaction::Nothing);
    let why = event(&mut events, "the end", |event| match event {
        Event::Disconnected(why) => Some(why),
        _ => None,
    });
    assert!(why.await.contains("silent"));
    assert!(matches!(waiting.await.expect("no panic"), Err(Error::Disconnected(_))));
}

#[tokio::test]
async fn nodes_that_are_only_known_from_the_servers_of_the_cluster_are_dialled_too() {
    let other = Server::start(Script { last: 5, ..Script::default() }).await;
    let text = |text: &str| Value::Str(text.to_owned().into());
    let node = Value::Dict(vec![
        ("name".into(), text("b")),
        ("state".into(), text("alive")),
        ("zeo".into(), text(&other.address)),
    ]);
    let view = Value::Dict(vec![
        ("cluster".into(), text("c")),
        ("epoch".into(), Value::Int(2)),
        ("primary".into(), text("b")),
        ("nodes".into(), Value::List(vec![node])),
    ]);
    let first = Server::start(Script { last: 5, view: Some(view), ..Script::default() }).await;
    let client = Client::start(options(&[&first]));
    let mut events = client.events();
    client.connected().await.expect("the first one");
    assert_eq!(client.view().expect("a view").primary.as_deref(), Some("b"));
    drop(first);
    let address = event(&mut events, "the other one", |event| match event {
        Event::Connected { address, .. } if address.to_string() == other.address => Some(address),
        _ => None,
    });
    address.await;
}

#[tokio::test]
async fn a_client_that_nobody_has_any_more_leaves() {
    let server = Server::start(Script::default()).await;
    let client = Client::start(options(&[&server]));
    client.connected().await.expect("connected");
    let mut events = client.events();
    drop(client);
    within("the end of its events", async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn without_a_server_a_call_waits_for_so_long_and_no_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let wait = Duration::from_millis(100);
    let client = Client::start(Options { wait, ..Options::new([address]) });
    let error = within("an error", client.new_oids(1)).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Unavailable(told) if told == wait), "{error}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error_and_not_the_end_of_the_client() {
    let server =
        Server::start(Script { last: 5, objects: objects(&[(2, 5, "x")]), ..Script::default() }).await;
    server.script().instead.insert("new_oids", || Reaction::Answer(Value::from("many")));
    let client = Client::start(options(&[&server]));
    assert!(matches!(client.new_oids(3).await, Err(Error::Protocol(_))));
    assert_eq!(load(&client, 2).await, "x");
}
