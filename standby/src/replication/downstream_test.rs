use super::*;
use crate::peer::{ChannelOptions, Identity, accept, connect, pair};
use crate::replication::copy::tests::copy;
use crate::replication::message::Recovery;

const OPTIONS: ChannelOptions = ChannelOptions { window_bytes: 1 << 20, message_bytes_max: 1 << 20 };

/// What a sink says and then goes, before any of it is read.
async fn hears_then_silence(copy: Copy, words: &[FromSink]) -> End {
    let (one, other) = pair();
    let (sink, source) = (Identity::for_tests("sink"), Identity::for_tests("source"));
    let (sink, source) = tokio::join!(connect(one, &sink), accept(other, &source));
    let (sink, source) = (sink.expect("connected"), source.expect("connected"));
    let accepted = async { source.next_opening().await.expect("asked for").accept(OPTIONS).expect("open") };
    let (opened, accepted) = tokio::join!(sink.open("stream:1", OPTIONS), accepted);
    let opened = opened.expect("accepted");
    for word in words {
        opened.send(word.encode()).await.expect("open");
    }
    opened.finish();
    let (sender, receiver) = accepted.split();
    sink.close("the sink is done");
    source.closed().await;

    let peer = Peer { node: "sink".to_owned(), group: "here".to_owned(), acknowledges: false };
    let place = copy.followers().join(copy.service().clone(), peer);
    let epochs = copy.epochs();
    let mut downstream = Downstream { copy, sender, place, feed: None, actions: VecDeque::new(), epochs };
    downstream.run(receiver).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_sink_that_gave_up_is_heard_though_the_stream_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = copy(&folder);
    let have = FromSink::Have {
        have: copy.have(),
        recovery: Recovery::Full,
        compression: Compression::None,
        recovering: None,
    };
    let end = hears_then_silence(copy, &[have, FromSink::Failed("the disk is full".to_owned())]).await;
    assert!(matches!(&end, End::Closed(reason) if reason.contains("the disk is full")), "{end:?}");
}
