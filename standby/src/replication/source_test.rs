use std::time::{Duration, Instant};

use replica::{Checksum, Epoch, Epochs, Place};
use zeo_proto::Tid;

use super::message::{Flow, FromSink, FromSource, Have, Recovery};
use super::route::Route;
use super::run::Compression;
use super::source::{ALIVE_EVERY, Action, Event, GATHER, Source, Standing};

/// The last transaction of the source.
const LAST: Tid = Tid::new(90);

fn standing(last: Tid) -> Standing {
    Standing { last, log_bytes: 4, unix_micros: 0, distance: 0 }
}

fn alive(last: Tid) -> Action {
    Action::Send(FromSource::Alive { last, log_bytes: 4, unix_micros: 0, distance: 0 })
}

/// A source that sends everything up to [`LAST`] to a sink that has nothing, and has been asked for the first of it.
fn flowing(now: Instant) -> Source {
    let epoch = Epoch { epoch: 1, boundary: Tid::new(1), fork: Tid::ZERO, node: "a".to_owned() };
    let epochs = Epochs::new(vec![epoch]).expect("in order");
    let last = Place { tid: LAST, checksum: Checksum::ZERO };
    let own = Have { epochs: epochs.clone(), first: last, last };
    let mut source = Source::new(own, standing(LAST), Route::default());
    let nothing = Have { epochs: Epochs::default(), first: Place::START, last: Place::START };
    let (recovery, compression) = (Recovery::Full, Compression::None);
    let greeting = FromSink::Have { have: nothing, recovery, compression, recovering: None };
    let opened = source.handle(now, Event::Received(greeting));
    assert_eq!(opened[1..], [Action::Export { what: Flow::All, after: Tid::ZERO }]);
    let begun = source.handle(now, Event::Exporting(last));
    let stream = FromSource::Stream { what: Flow::All, after: Tid::ZERO, anchor: Some(last), epochs };
    assert_eq!(begun, [Action::Send(stream), Action::ReadNext]);
    source
}

#[test]
fn what_cannot_be_read_is_not_read_again_at_once() {
    let now = Instant::now();
    let mut source = flowing(now);
    // The last transaction was packed away: no read ever comes to it.
    assert_eq!(source.handle(now, sent(80, false)), [Action::ReadNext]);
    assert_eq!(source.handle(now, Event::AtEnd), [alive(LAST)]);
    assert_eq!(source.handle(now, Event::Tick), []);
    // Once in a while it looks again, in case that something was published without being told.
    let later = now + ALIVE_EVERY;
    assert_eq!(source.handle(later, Event::Tick), [alive(LAST), Action::ReadNext]);
    assert_eq!(source.handle(later, Event::AtEnd), [alive(LAST)]);
}

#[test]
fn what_is_published_while_the_source_reads_is_read_after_that() {
    let now = Instant::now();
    let mut source = flowing(now);
    let (next, then) = (Tid::new(91), Tid::new(92));
    assert_eq!(source.handle(now, Event::Published(standing(next))), []);
    assert_eq!(source.handle(now, Event::Published(standing(next))), []);
    assert_eq!(source.handle(now, Event::AtEnd), [Action::ReadNext]);
    assert_eq!(source.handle(now, sent(91, false)), [Action::ReadNext]);
    assert_eq!(source.handle(now, Event::AtEnd), [alive(next)]);
    let later = now + Duration::from_millis(1);
    assert_eq!(source.handle(later, Event::Published(standing(then))), [Action::ReadNext]);
}

fn sent(last: u64, at_end: bool) -> Event {
    Event::Sent { last: Tid::new(last), at_end }
}

fn tells(actions: &[Action], until: u64) -> bool {
    matches!(actions, [Action::Send(FromSource::Alive { last, .. })] if last.get() == until)
}

#[test]
fn what_was_read_to_its_end_is_not_read_again_before_there_is_more() {
    let now = Instant::now();
    let mut source = flowing(now);
    assert_eq!(source.handle(now, sent(50, false)), [Action::ReadNext]);
    assert!(tells(&source.handle(now, sent(90, true)), 90));
    assert_eq!(source.handle(now, Event::Published(standing(Tid::new(90)))), []);
    assert_eq!(source.handle(now, Event::Published(standing(Tid::new(91)))), [Action::ReadNext]);
    assert_eq!(source.handle(now, Event::Published(standing(Tid::new(93)))), [], "it is being read");
    assert_eq!(source.handle(now, sent(92, true)), [Action::ReadNext], "more was published meanwhile");
    assert!(tells(&source.handle(now, sent(93, true)), 93));
}

#[test]
fn news_can_wait_for_a_moment_after_something_was_sent() {
    let now = Instant::now();
    let mut source = flowing(now);
    assert_eq!(source.gathers_until(), None, "nothing was sent yet");
    source.handle(now, sent(90, true));
    assert_eq!(source.gathers_until(), Some(now + GATHER));
    let later = now + 10 * GATHER;
    source.handle(later, Event::Published(standing(Tid::new(91))));
    assert!(source.gathers_until() < Some(later), "what comes alone is read at once");
    source.handle(later, sent(91, true));
    assert_eq!(source.gathers_until(), Some(later + GATHER));
}

#[test]
fn after_a_pack_the_log_is_looked_at_again() {
    let now = Instant::now();
    let mut source = flowing(now);
    source.handle(now, sent(90, true));
    let packed = Action::Send(FromSource::Packed { until: Tid::new(60) });
    assert_eq!(source.handle(now, Event::Packed(Tid::new(60))), [Action::ReadNext, packed]);
}
