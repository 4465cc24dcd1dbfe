//! A peer that does what it must not.

use std::time::Instant;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Event, Mux, ProtocolError, Side};
use crate::peer::frame::{Frame, FrameError, Piece, Role};
use crate::peer::limits::{ChannelOptions, PeerLimits};

const OPTIONS: ChannelOptions = ChannelOptions { window_bytes: 10_000, message_bytes_max: 20_000 };

fn record(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    let mut record = Vec::new();
    frames.into_iter().for_each(|frame| Piece::from(frame).write(&mut record));
    record
}

fn open(channel: u32) -> Frame {
    Frame::Open { channel, window_bytes: 10_000, message_bytes_max: 1000, name: "x".to_owned() }
}

fn message(channel: u32, total: u32, bytes: usize) -> Frame {
    Frame::Message { channel, role: Role::Plain, id: 0, total, data: vec![0; bytes].into() }
}

fn more(channel: u32, bytes: usize) -> Frame {
    Frame::More { channel, data: vec![0; bytes].into() }
}

/// A listener with channel 1 agreed to, and channel 2 asked for.
fn listener() -> Mux {
    let now = Instant::now();
    let mut mux = Mux::new(Side::Listener, PeerLimits { channels_max: 8, ..PeerLimits::default() }, now);
    mux.receive(&record([open(1)]), now).unwrap();
    assert!(mux.accept(1, OPTIONS));
    assert_eq!(mux.open("y", OPTIONS), Ok(2));
    while mux.next_event().is_some() {}
    mux
}

#[test]
fn each_breach_of_the_protocol_is_named() {
    let accept = |channel| Frame::Accept { channel, window_bytes: 10_000, message_bytes_max: 1000 };
    let text = |text: &str| text.to_owned();
    let finish = Frame::Finish { channel: 1 };
    let too_large = ProtocolError::MessageTooLarge { channel: 1, bytes: 20_001, bytes_max: 20_000 };
    let breaches: Vec<(Vec<Frame>, ProtocolError)> = vec![
        (vec![open(4)], ProtocolError::WrongNumber(4)),
        (vec![open(1)], ProtocolError::WrongNumber(1)),
        (vec![open(7), open(5)], ProtocolError::WrongNumber(5)),
        (vec![message(3, 1, 1)], ProtocolError::UnknownChannel(3)),
        (vec![more(4, 1)], ProtocolError::UnknownChannel(4)),
        (vec![Frame::Window { channel: 9, bytes: 1 }], ProtocolError::UnknownChannel(9)),
        (vec![Frame::Reset { channel: 9, reason: text("") }], ProtocolError::UnknownChannel(9)),
        (vec![accept(1)], ProtocolError::NotAsked(1)),
        (vec![accept(4)], ProtocolError::UnknownChannel(4)),
        (vec![accept(2), accept(2)], ProtocolError::NotAsked(2)),
        (vec![accept(2), Frame::Refuse { channel: 2, reason: text("") }], ProtocolError::NotAsked(2)),
        (vec![message(2, 1, 1)], ProtocolError::NotOpen(2)),
        (vec![open(3), message(3, 1, 1)], ProtocolError::NotOpen(3)),
        (vec![open(3), Frame::Window { channel: 3, bytes: 1 }], ProtocolError::NotOpen(3)),
        (vec![open(3), Frame::Finish { channel: 3 }], ProtocolError::NotOpen(3)),
        (vec![finish.clone(), finish.clone()], ProtocolError::NotOpen(1)),
        (vec![finish, message(1, 1, 1)], ProtocolError::NotOpen(1)),
        (vec![message(1, 9_937, 9_937)], ProtocolError::WindowExceeded(1)),
        (vec![message(1, 9_000, 9_000), message(1, 873, 873)], ProtocolError::WindowExceeded(1)),
        (vec![message(1, 20_001, 1)], too_large),
        (vec![more(1, 1)], ProtocolError::BrokenMessage(1)),
        (vec![message(1, 1, 2)], ProtocolError::BrokenMessage(1)),
        (vec![message(1, 1, 0)], ProtocolError::BrokenMessage(1)),
        (vec![message(1, 2, 1), message(1, 1, 1)], ProtocolError::BrokenMessage(1)),
        (vec![message(1, 3, 1), more(1, 3)], ProtocolError::BrokenMessage(1)),
        (vec![message(1, 3, 1), Frame::Finish { channel: 1 }], ProtocolError::BrokenMessage(1)),
        (
            vec![Frame::Open { channel: 3, window_bytes: 100, message_bytes_max: 0, name: text("x") }],
            ProtocolError::WrongWindow(3),
        ),
        (vec![Frame::Window { channel: 1, bytes: u32::MAX }; 300], ProtocolError::WrongWindow(1)),
        (vec![Frame::Pong { token: 1 }], ProtocolError::StrayPong),
        (vec![Frame::Goodbye { reason: text("") }, Frame::Ping { token: 1 }], ProtocolError::AfterGoodbye),
    ];
    for (frames, error) in breaches {
        let mut mux = listener();
        assert_eq!(mux.receive(&record(frames.clone()), Instant::now()), Err(error), "{frames:?}");
    }
}

#[test]
fn bytes_that_are_no_frames_are_named() {
    for (bytes, error) in [
        (&[1, 0, 0][..], FrameError::CutOff),
        (&[10, 0, 0, 8, 0, 0, 0, 0, 1], FrameError::CutOff),
        (&[0, 0, 0, 0, 0, 0, 0, 1], FrameError::UnknownKind(0)),
        (&[12, 0, 0, 0, 0, 0, 0, 1], FrameError::UnknownKind(12)),
        (&[7, 1, 0, 0, 0, 0, 0, 1], FrameError::UnknownFlags { kind: 7, flags: 1 }),
        (&[4, 4, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], FrameError::UnknownFlags { kind: 4, flags: 4 }),
        (&[6, 0, 0, 1, 0, 0, 0, 1, 0], FrameError::WrongLength(6)),
        (&[5, 0, 0, 0, 0, 0, 0, 1], FrameError::WrongLength(5)),
        (&[7, 0, 0, 0, 0, 0, 0, 0], FrameError::WrongChannel(7)),
        (&[11, 0, 0, 0, 0, 0, 0, 1], FrameError::WrongChannel(11)),
        (&[8, 0, 0, 1, 0, 0, 0, 1, 0xff], FrameError::NotUtf8(8)),
    ] {
        assert_eq!(listener().receive(bytes, Instant::now()), Err(error.into()), "{bytes:?}");
    }
}

#[test]
fn frames_for_a_channel_that_is_over_are_ignored() {
    let mut mux = listener();
    mux.reset(1, "over");
    let late = [message(1, 1, 1), message(1, 5, 1), more(1, 4), Frame::Window { channel: 1, bytes: 9 }];
    mux.receive(&record(late), Instant::now()).unwrap();
    mux.receive(&record([Frame::Finish { channel: 1 }]), Instant::now()).unwrap();
    assert_eq!(mux.receive_message(1), None);
}

#[test]
fn a_peer_that_opens_on_and_on_and_reads_nothing_is_stopped() {
    let (mut mux, now) = (listener(), Instant::now());
    let mut channel = 3;
    let error = loop {
        match mux.receive(&record([open(channel)]), now) {
            Ok(()) => channel += 2,
            Err(error) => break error,
        }
        assert!(mux.channels.len() <= 8 && channel < 20_000, "bounded");
    };
    assert_eq!(error, ProtocolError::Unread);
}

#[test]
fn pings_without_end_are_answered_by_one_pong() {
    let (mut mux, now) = (listener(), Instant::now());
    let mut pieces = Vec::new();
    while mux.next_record(&mut pieces, now) {
        pieces.clear();
    }
    for token in 0..1000 {
        mux.receive(&record([Frame::Ping { token }]), now).unwrap();
    }
    assert!(mux.next_record(&mut pieces, now));
    assert_eq!(pieces, [Piece::from(Frame::Pong { token: 999 })]);
}

fn frame() -> impl Strategy<Value = Frame> {
    let channel = 1..10u32;
    let number = prop_oneof![0..100u32, 4000..30_000u32, any::<u32>()];
    let data = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let role = prop_oneof![Just(Role::Plain), Just(Role::Request), Just(Role::Answer), Just(Role::Failure)];
    prop_oneof![
        (channel.clone(), number.clone(), number.clone(), "[a-z]{1,9}").prop_map(
            |(channel, window_bytes, message_bytes_max, name)| {
                Frame::Open { channel, window_bytes, message_bytes_max, name }
            }
        ),
        (channel.clone(), number.clone(), number.clone()).prop_map(
            |(channel, window_bytes, message_bytes_max)| {
                Frame::Accept { channel, window_bytes, message_bytes_max }
            }
        ),
        (channel.clone(), ".{0,9}").prop_map(|(channel, reason)| Frame::Refuse { channel, reason }),
        (channel.clone(), role.clone(), data.clone()).prop_map(|(channel, role, data)| {
            Frame::Message { channel, role, id: 1, total: data.len() as u32, data }
        }),
        (channel.clone(), role, number.clone(), data.clone())
            .prop_map(|(channel, role, total, data)| Frame::Message { channel, role, id: 1, total, data }),
        (channel.clone(), data).prop_map(|(channel, data)| Frame::More { channel, data }),
        (channel.clone(), number).prop_map(|(channel, bytes)| Frame::Window { channel, bytes }),
        channel.clone().prop_map(|channel| Frame::Finish { channel }),
        (channel, ".{0,9}").prop_map(|(channel, reason)| Frame::Reset { channel, reason }),
        any::<u64>().prop_map(|token| Frame::Ping { token }),
        (0..3u64).prop_map(|token| Frame::Pong { token }),
        ".{0,9}".prop_map(|reason| Frame::Goodbye { reason }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = listener().receive(&bytes, Instant::now());
    }

    /// Frames that are well-formed, and each a plausible next step or none; the user of the machine accepts and reads.
    #[test]
    fn any_frames_are_taken_or_refused_within_bounded_memory(
        frames in vec(frame(), 0..60),
        flips in vec((any::<prop::sample::Index>(), 0..8u8), 0..2),
        reads in any::<bool>(),
    ) {
        let (mut mux, now) = (listener(), Instant::now());
        let mut pieces = Vec::new();
        for frame in frames {
            let mut bytes = record([frame]);
            for (place, bit) in &flips {
                let place = place.index(bytes.len() * 8); // past the end, mostly, so that most frames stay whole
                bytes.get_mut(place).iter_mut().for_each(|byte| **byte ^= 1 << bit);
            }
            if mux.receive(&bytes, now).is_err() {
                break;
            }
            while let Some(event) = mux.next_event() {
                match event {
                    Event::Opened(channel, _) => _ = mux.accept(channel, OPTIONS), // unless it was withdrawn
                    Event::Readable(channel) if reads => while mux.receive_message(channel).is_some() {},
                    _ => {}
                }
            }
            while mux.next_record(&mut pieces, now) {
                pieces.clear();
            }
            let bound = u64::from(OPTIONS.window_bytes + OPTIONS.message_bytes_max);
            prop_assert!(mux.channels.len() <= 8);
            prop_assert!(mux.channels.values().all(|channel| channel.held_bytes() <= bound));
        }
    }
}
