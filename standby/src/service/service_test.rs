use std::future::poll_fn;
use std::sync::atomic::AtomicU64;

use replica::{NoProgress, OpenOptions};

use super::clients::Client;
use super::gate::Hold;
use super::mailbox::{Inbox, mailbox};
use super::*;

const LIMIT: Duration = Duration::from_secs(60);

impl Service {
    /// Serves an empty storage in this folder, as a node does.
    pub(crate) fn for_tests(folder: &tempfile::TempDir) -> Self {
        let path = folder.path().join("Data.fs");
        let (storage, _) = Storage::open(&path, &OpenOptions::default(), &NoProgress).expect("a new file");
        let options = ServiceOptions {
            name: "1".to_owned(),
            read_only: false,
            invalidations: InvalidationPolicy::Log,
            transaction_timeout: None,
            pack: PackOptions::default(),
            load_delay: Duration::ZERO,
        };
        Self::new(options, storage).expect("an empty storage")
    }
}

async fn event(inbox: &mut Inbox) -> Event {
    let next = poll_fn(|context| inbox.poll_recv(context));
    tokio::time::timeout(LIMIT, next).await.expect("an event in time").expect("the sender is there")
}

/// Commits to one object again and again, each time as soon as it sees its last commit published: while the
/// committer may still be giving back the locks of that one. `holder` is whose turn it is.
async fn contend(service: Service, rounds: usize, holder: Arc<AtomicU64>) {
    let (sender, mut inbox) = mailbox();
    let client = Arc::new(Client::new("contender".to_owned()));
    let (session, mut sequence, _) =
        service.join(sender, Registration { client: client.clone(), read_only: false });
    for _ in 0..rounds {
        let owner = service.begin(session);
        let claims = Claims::objects([Oid::new(1)], []);
        if service.lock(owner, claims) == Answer::Waiting {
            while !matches!(event(&mut inbox).await, Event::LocksGranted(granted) if granted == owner) {}
        }
        assert_eq!(holder.swap(owner.transaction, Ordering::SeqCst), 0, "the object is locked by another");
        let mut transaction = service.storage().begin();
        transaction.store(Oid::new(1), &owner.transaction.to_be_bytes()).expect("stored");
        let reservation = service.storage().reserve(&transaction).expect("space");
        tokio::task::yield_now().await;
        assert_eq!(
            holder.swap(0, Ordering::SeqCst),
            owner.transaction,
            "the lock was lost before the commit"
        );
        service.commit(owner, transaction, reservation);
        let mut finished = false;
        while !finished {
            for publication in service.publications().after(sequence).expect("kept") {
                sequence = publication.sequence;
                finished |= publication.origin == Some(owner);
            }
            if !finished {
                event(&mut inbox).await;
            }
        }
    }
    service.leave(session);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_that_follows_at_once_does_not_lose_its_locks_to_the_end_of_the_last_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::for_tests(&folder);
    let holder = Arc::new(AtomicU64::new(0));
    let (sessions, rounds) = (6, 150);
    let contenders = (0..sessions).map(|_| tokio::spawn(contend(service.clone(), rounds, holder.clone())));
    for contender in contenders.collect::<Vec<_>>() {
        contender.await.expect("no contender fails");
    }
    assert_eq!(service.publications().after(0).expect("kept").len(), sessions * rounds);
    service.close().expect("closed"); // the committer has given back the last locks
    assert_eq!(service.lock_status(), (0, None));
}

#[tokio::test]
async fn locks_that_a_vote_let_go_to_another_are_known_as_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::for_tests(&folder);
    let (sender, mut inbox) = mailbox();
    let client = Arc::new(Client::new("voter".to_owned()));
    let (session, ..) = service.join(sender, Registration { client, read_only: false });
    let (first, second) = (service.begin(session), service.begin(session));
    let claims = |oids: &[u64]| Claims::objects(oids.iter().map(|oid| Oid::new(*oid)), []);
    assert_eq!(service.lock(first, claims(&[2])), Answer::Granted);
    assert_eq!(service.lock(second, claims(&[2])), Answer::Waiting);
    // The first one votes again, with more than it has: it waits its turn.
    assert_eq!(service.lock(first, claims(&[2, 3])), Answer::Waiting);
    assert!(matches!(event(&mut inbox).await, Event::LocksGranted(granted) if granted == second));
    let (waiting, since) = service.lock_status();
    assert_eq!(waiting, 1);
    assert!(since.is_some(), "the second one has locks");
}

/// A client's commit of one object.
fn commit_one(service: &Service, session: SessionId, oid: u64) -> Owner {
    let owner = service.begin(session);
    assert_eq!(service.lock(owner, Claims::objects([Oid::new(oid)], [])), Answer::Granted);
    let mut transaction = service.storage().begin();
    transaction.store(Oid::new(oid), b"a record").expect("stored");
    let reservation = service.storage().reserve(&transaction).expect("space");
    service.commit(owner, transaction, reservation);
    owner
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_commit_at_a_node_that_is_not_the_primary_any_more_is_not_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::for_tests(&folder);
    let (sender, mut inbox) = mailbox();
    let client = Arc::new(Client::new("client".to_owned()));
    let (session, sequence, _) = service.join(sender, Registration { client, read_only: false });
    let published = || service.publications().after(sequence).expect("kept").len();

    // It has just left office, and its client does not know yet.
    service.hold_what_waits();
    let mut tip = service.tip();
    commit_one(&service, session, 1);
    tip.wait_for(|tip| *tip > Tid::ZERO).await.expect("it is durable");
    assert_eq!(published(), 0, "it may be lost");
    // The history that is followed has it.
    service.hold(Hold::Following);
    assert_eq!(published(), 1);
    // This one is in nobody's history.
    commit_one(&service, session, 2);
    while !matches!(event(&mut inbox).await, Event::CommitFailed(_)) {}
    assert_eq!(published(), 1);
    assert_eq!(service.lock_status().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_from_one_node_is_published_when_another_is_to_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::for_tests(&folder);
    let mut applied = service.applied();
    service.hold(Hold::Following);
    service.hold_what_waits();
    let mut transaction = service.storage().begin();
    transaction.set_tid(Tid::new(7));
    transaction.store(Oid::new(1), b"a record").expect("stored");
    let reservation = service.storage().reserve(&transaction).expect("space");
    service.apply(vec![(transaction, reservation)]);
    let told = tokio::time::timeout(LIMIT, applied.recv()).await.expect("in time").expect("it goes on");
    assert_eq!(told.outcome.expect("it is committed"), Tid::new(7));
}
