//! Lines to a voter that is slow to reach.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::line::{CHANNEL, CHANNEL_OPTIONS, Line, Lines};
use crate::failover::entry::NodeId;
use crate::peer::{Identity, Incoming, PeerListener};

const LIMIT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever listens there answers every request with the number of its connection, the first one only after so long.
async fn answering(first: Duration) -> String {
    let identity = Arc::new(Identity::for_tests("b"));
    let mut listener = PeerListener::bind("127.0.0.1:0", identity).await.expect("a free port");
    let address = listener.address().expect("bound").to_string();
    tokio::spawn(async move {
        let mut wait = Some(first);
        for number in 1u32.. {
            let (connection, mut wait) = (listener.next().await, wait.take());
            tokio::spawn(async move {
                while let Some(opening) = connection.next_opening().await {
                    assert_eq!(opening.name(), CHANNEL);
                    let mut channel = opening.accept(CHANNEL_OPTIONS).expect("it is open");
                    while let Ok(Some(Incoming::Request(request))) = channel.recv().await {
                        sleep(wait.take().unwrap_or_default()).await;
                        let _ = request.answer(Bytes::from(number.to_string())).await;
                    }
                }
            });
        }
    });
    address
}

/// Asks until an answer comes. The answer.
async fn ask_until_answered(line: &Line) -> u32 {
    let answered = async {
        loop {
            if let Ok(answer) = line.ask::<u32>(&"how far?", LIMIT).await {
                return answer;
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("in time")
}

/// An address where whoever connects waits so long before the first byte passes.
async fn slowly(to: String, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                sleep(delay).await;
                let mut there = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut here, &mut there).await
            });
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_takes_longer_than_a_request_waits_is_open_for_a_later_one() {
    let address = slowly(answering(Duration::ZERO).await, LIMIT * 3).await;
    let (_keep, charter) = watch::channel(None);
    let line = Lines::new(Arc::new(Identity::for_tests("a")), NodeId(1), charter).to(&address);

    assert!(line.ask::<u32>(&"how far?", LIMIT).await.is_err(), "it cannot be reached in that time");
    assert_eq!(ask_until_answered(&line).await, 1);
}

#[tokio::test]
async fn a_connection_outlives_one_late_answer_and_no_more_than_three() {
    let (_keep, charter) = watch::channel(None);
    for (late, expected) in [(LIMIT * 3 / 2, 1), (PATIENCE * 2, 2)] {
        let lines = Lines::new(Arc::new(Identity::for_tests("a")), NodeId(1), charter.clone());
        let line = lines.to(&answering(late).await);
        assert!(line.ask::<u32>(&"how far?", LIMIT).await.is_err(), "that is too late");
        assert_eq!(ask_until_answered(&line).await, expected, "answered on that connection");
    }
}
