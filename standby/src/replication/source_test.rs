use replica::{Checksum, Epochs};

use super::*;

fn have(last: u64) -> Have {
    let (first, last) = (place(0), place(last));
    Have { epochs: Epochs::default(), first, last }
}

fn place(tid: u64) -> Place {
    Place { tid: Tid::new(tid), checksum: Checksum::ZERO }
}

fn standing(last: u64) -> Standing {
    Standing { last: Tid::new(last), log_bytes: 0, unix_micros: 0, distance: 0 }
}

fn sent(last: u64, at_end: bool) -> Event {
    Event::Sent { last: Tid::new(last), at_end }
}

/// A source that has transactions up to 9, whose stream to an empty sink has just begun.
fn flowing(now: Instant) -> Source {
    let mut source = Source::new(have(9), standing(9), Route::default());
    let (recovery, compression) = (Recovery::Full, Compression::None);
    let asked = FromSink::Have { have: have(0), recovery, compression, recovering: None };
    source.handle(now, Event::Received(asked));
    let begun = source.handle(now, Event::Exporting(place(0)));
    assert_eq!(begun.last(), Some(&Action::ReadNext));
    source
}

fn tells(actions: &[Action], until: u64) -> bool {
    matches!(actions, [Action::Send(FromSource::Alive { last, .. })] if last.get() == until)
}

#[test]
fn what_was_read_to_its_end_is_not_read_again_before_there_is_more() {
    let now = Instant::now();
    let mut source = flowing(now);
    assert_eq!(source.handle(now, sent(5, false)), [Action::ReadNext]);
    assert!(tells(&source.handle(now, sent(9, true)), 9));
    assert_eq!(source.handle(now, Event::Published(standing(9))), []);
    assert_eq!(source.handle(now, Event::Published(standing(10))), [Action::ReadNext]);
    assert_eq!(source.handle(now, Event::Published(standing(12))), [], "it is being read");
    assert_eq!(source.handle(now, sent(11, true)), [Action::ReadNext], "more was published meanwhile");
    assert!(tells(&source.handle(now, sent(12, true)), 12));
}

#[test]
fn news_can_wait_for_a_moment_after_something_was_sent() {
    let now = Instant::now();
    let mut source = flowing(now);
    assert_eq!(source.gathers_until(), None, "nothing was sent yet");
    source.handle(now, sent(9, true));
    assert_eq!(source.gathers_until(), Some(now + GATHER));
    let later = now + 10 * GATHER;
    source.handle(later, Event::Published(standing(10)));
    assert!(source.gathers_until() < Some(later), "what comes alone is read at once");
    source.handle(later, sent(10, true));
    assert_eq!(source.gathers_until(), Some(later + GATHER));
}
