//! Two machines that speak with each other, over links that deliver record by record.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Event, Message, Mux, SendError, Side};
use crate::peer::frame::{CHUNK_BYTES_MAX, Frame, RECORD_FRAMES_BYTES_MAX, Role, split};
use crate::peer::limits::{ChannelOptions, PeerLimits};

const OPTIONS: ChannelOptions = ChannelOptions { window_bytes: 20_000, message_bytes_max: 300_000 };

/// One end, with what it has been told and given.
struct End {
    mux: Mux,
    /// Records on their way from here.
    link: VecDeque<Vec<u8>>,
    events: Vec<Event>,
}

impl End {
    fn new(side: Side, now: Instant) -> Self {
        Self { mux: Mux::new(side, PeerLimits::default(), now), link: VecDeque::new(), events: Vec::new() }
    }

    fn collect(&mut self) {
        while let Some(event) = self.mux.next_event() {
            self.events.push(event);
        }
    }

    /// Puts the next record on its way.
    fn transmit(&mut self, now: Instant) -> bool {
        let mut pieces = Vec::new();
        let any = self.mux.next_record(&mut pieces, now);
        assert_eq!(any, !pieces.is_empty());
        if any {
            let mut record = Vec::new();
            pieces.iter().for_each(|piece| piece.write(&mut record));
            assert!(record.len() <= RECORD_FRAMES_BYTES_MAX);
            self.link.push_back(record);
        }
        self.collect();
        any
    }

    fn deliver(&mut self, record: &[u8], now: Instant) {
        self.mux.receive(record, now).expect("what a machine sends is well-formed");
        self.collect();
    }
}

struct Pair {
    ends: [End; 2],
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        Self { ends: [End::new(Side::Dialer, now), End::new(Side::Listener, now)], now }
    }

    /// Delivers one record from an end to the other.
    fn deliver(&mut self, from: usize) -> bool {
        let Some(record) = self.ends[from].link.pop_front() else { return false };
        self.ends[1 - from].deliver(&record, self.now);
        true
    }

    /// Lets everything that can pass, pass.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..2 {
                moved |= self.ends[from].transmit(self.now);
                moved |= self.deliver(from);
            }
        }
    }

    /// A channel that the dialer opened and the listener agreed to.
    fn open(&mut self, options: ChannelOptions) -> u32 {
        let number = self.ends[0].mux.open("stream:main", options).unwrap();
        self.settle();
        assert!(self.ends[1].mux.accept(number, options));
        self.settle();
        assert!(self.ends[0].events.contains(&Event::Accepted(number)));
        number
    }

    fn send(&mut self, from: usize, number: u32, body: Vec<u8>) {
        self.ends[from].mux.send(number, Message::plain(body.into())).unwrap();
    }

    fn received(&mut self, at: usize, number: u32) -> Option<Bytes> {
        self.ends[at].mux.receive_message(number).map(|message| message.body)
    }
}

fn frames(record: &[u8]) -> Vec<Frame<&[u8]>> {
    let mut rest = record;
    std::iter::from_fn(|| (!rest.is_empty()).then(|| split(&mut rest).unwrap())).collect()
}

#[test]
fn a_ping_and_a_small_message_pass_between_the_chunks_of_a_large_one() {
    let mut pair = Pair::new();
    let options = ChannelOptions { window_bytes: 16 << 20, message_bytes_max: 16 << 20 };
    let (large, small) = (pair.open(options), pair.open(options));
    pair.send(0, large, vec![0; 8 << 20]);
    assert!(pair.ends[0].transmit(pair.now));
    pair.send(0, small, b"small".to_vec());
    pair.ends[0].mux.tick(pair.now).unwrap();
    for _ in 0..2 {
        assert!(pair.ends[0].transmit(pair.now));
    }
    let later: Vec<_> = pair.ends[0].link.iter().skip(1).flat_map(|record| frames(record)).collect();
    assert!(matches!(later[0], Frame::Ping { .. }), "{:?}", later[0]);
    assert!(later.iter().any(|frame| matches!(frame, Frame::Message { channel, .. } if *channel == small)));
}

#[test]
fn channels_with_much_to_send_take_turns() {
    let mut pair = Pair::new();
    let options = ChannelOptions { window_bytes: 16 << 20, message_bytes_max: 16 << 20 };
    let channels: Vec<u32> = (0..4).map(|_| pair.open(options)).collect();
    // Lengths of which a whole number fits in no record; a machine that fills records first would starve somebody.
    for (channel, length) in channels.iter().zip([40_000, 1_000, 8 << 20, CHUNK_BYTES_MAX]) {
        for _ in 0..(8 << 20) / length {
            pair.send(0, *channel, vec![0; length]);
        }
    }
    let mut sent: BTreeMap<u32, usize> = BTreeMap::new();
    for _ in 0..60 {
        assert!(pair.ends[0].transmit(pair.now));
    }
    for record in &pair.ends[0].link {
        for frame in frames(record) {
            if let Frame::Message { channel, data, .. } | Frame::More { channel, data } = frame {
                *sent.entry(channel).or_default() += data.len();
            }
        }
    }
    let (least, most) = (sent.values().min().unwrap(), sent.values().max().unwrap());
    assert!(sent.len() == 4 && most <= &(least * 2), "{sent:?}");
}

#[test]
fn a_sender_stops_at_the_window_and_goes_on_as_messages_are_received() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    for number in 0..10u8 {
        pair.send(0, channel, vec![number; 6_000]);
    }
    pair.settle();
    let held = pair.ends[1].mux.channels[&channel].held_bytes();
    assert!(held > 10_000 && held <= 20_000, "{held}");
    for number in 0..10u8 {
        assert_eq!(pair.received(1, channel).unwrap(), vec![number; 6_000]);
        pair.settle();
    }
    assert_eq!(pair.received(1, channel), None);
}

#[test]
fn a_message_many_times_the_window_gets_through_and_no_larger_one() {
    let mut pair = Pair::new();
    let channel = pair.open(ChannelOptions { window_bytes: 4096, message_bytes_max: 300_000 });
    let body: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    pair.send(0, channel, body.clone());
    pair.settle();
    assert_eq!(pair.received(1, channel).unwrap(), body);
    let too_large = pair.ends[0].mux.send(channel, Message::plain(vec![0; 300_001].into()));
    assert_eq!(too_large, Err(SendError::TooLarge { bytes: 300_001, bytes_max: 300_000 }));
}

#[test]
fn messages_larger_than_the_window_do_not_pile_up_unread() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    for number in 0..10u8 {
        pair.send(0, channel, vec![number; 100_000]);
    }
    pair.settle();
    let held = pair.ends[1].mux.channels[&channel].held_bytes();
    assert!((100_000..=120_000).contains(&held), "one, and what the window lets begin: {held}");
    for number in 0..10u8 {
        assert_eq!(pair.received(1, channel).unwrap(), vec![number; 100_000]);
        pair.settle();
    }
}

#[test]
fn no_message_overtakes_the_agreement_to_its_channel() {
    let mut pair = Pair::new();
    let channels: Vec<u32> = (0..100).map(|_| pair.ends[0].mux.open("x", OPTIONS).unwrap()).collect();
    pair.settle();
    let (last, others) = channels.split_last().unwrap();
    for channel in others {
        pair.ends[1].mux.refuse(*channel, &"a long reason ".repeat(70)); // more than one record takes
    }
    assert!(pair.ends[1].mux.accept(*last, OPTIONS));
    pair.send(1, *last, b"first".to_vec());
    pair.settle();
    assert_eq!(pair.received(0, *last).unwrap(), "first");
}

#[test]
fn empty_messages_use_up_the_window_too() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    for _ in 0..5_000 {
        pair.send(0, channel, Vec::new());
    }
    pair.settle();
    assert!(pair.ends[1].mux.channels[&channel].held_bytes() <= 20_000);
}

#[test]
fn a_sender_is_told_of_room_when_half_of_the_queue_is_gone() {
    let mut pair = Pair::new();
    let options = ChannelOptions { window_bytes: 16 << 20, message_bytes_max: 1 << 20 };
    let channel = pair.open(options);
    while pair.ends[0].mux.has_room(channel) {
        pair.send(0, channel, vec![0; 50_000]);
    }
    let half = PeerLimits::default().send_queue_bytes / 2;
    while pair.ends[0].mux.channels[&channel].queued_bytes() > half {
        assert!(!pair.ends[0].events.contains(&Event::Writable(channel)));
        assert!(pair.ends[0].transmit(pair.now));
    }
    assert!(pair.ends[0].events.contains(&Event::Writable(channel)));
}

#[test]
fn openings_that_cross_and_are_answered_in_another_order_are_told_apart() {
    let mut pair = Pair::new();
    let [dialer, listener] = &mut pair.ends;
    let ours: Vec<u32> = (0..3).map(|_| dialer.mux.open("a", OPTIONS).unwrap()).collect();
    let theirs: Vec<u32> = (0..3).map(|_| listener.mux.open("b", OPTIONS).unwrap()).collect();
    assert_eq!((ours.clone(), theirs.clone()), (vec![1, 3, 5], vec![2, 4, 6]));
    pair.settle();
    assert!(pair.ends[1].mux.accept(5, OPTIONS));
    pair.ends[1].mux.refuse(1, "no");
    assert!(pair.ends[0].mux.accept(4, OPTIONS));
    pair.ends[1].mux.reset(6, "changed my mind");
    pair.settle();
    assert!(pair.ends[1].mux.accept(3, OPTIONS));
    assert!(!pair.ends[0].mux.accept(6, OPTIONS), "withdrawn");
    pair.settle();
    let answers = |events: &[Event]| -> Vec<Event> {
        events.iter().filter(|event| !matches!(event, Event::Opened(..))).cloned().collect()
    };
    let refused = Event::Refused(1, "no".to_owned());
    let reset = Event::Reset(6, "changed my mind".to_owned());
    assert_eq!(answers(&pair.ends[0].events), [Event::Accepted(5), refused, reset, Event::Accepted(3)]);
    assert_eq!(answers(&pair.ends[1].events), [Event::Accepted(4)]);
}

#[test]
fn a_channel_is_forgotten_when_both_sides_have_finished() {
    let mut pair = Pair::new();
    for _ in 0..1_000 {
        let channel = pair.open(OPTIONS);
        pair.send(0, channel, b"last".to_vec());
        pair.ends[0].mux.finish(channel);
        pair.ends[1].mux.finish(channel);
        pair.settle();
        assert_eq!(pair.received(1, channel).unwrap(), "last");
        assert!(pair.ends[1].mux.is_finished(channel));
        assert!(pair.ends.iter().all(|end| end.mux.is_over(channel)));
    }
}

#[test]
fn a_channel_that_one_side_released_ends_at_the_other_after_what_was_sent() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    pair.send(0, channel, b"last".to_vec());
    pair.ends[0].mux.release(channel);
    pair.send(1, channel, b"unwanted".to_vec());
    pair.settle();
    assert_eq!(pair.received(1, channel).unwrap(), "last");
    assert!(pair.ends[1].mux.is_finished(channel));
    let refused = pair.ends[1].mux.send(channel, Message::plain("more".into()));
    assert_eq!(refused, Err(SendError::NotOpen));
    assert!(pair.ends.iter().all(|end| end.mux.is_over(channel)));
}

#[test]
fn requests_where_nobody_answers_fail_and_too_many_of_them_end_the_channel() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    pair.ends[1].mux.discard(channel);
    let ask = |id| Message { role: Role::Request, id, body: Bytes::new() };
    pair.ends[0].mux.send(channel, ask(7)).unwrap();
    pair.settle();
    assert!(pair.ends[0].events.contains(&Event::Answered(
        channel,
        7,
        Err("nobody answers here".to_owned())
    )));

    // One that asks for ever and takes no answers: this side does not keep them for ever.
    let mut asked = 0;
    while !pair.ends[1].mux.is_over(channel) {
        if pair.ends[0].mux.send(channel, ask(asked)).is_ok() {
            asked += 1;
        }
        pair.ends[0].transmit(pair.now);
        pair.deliver(0);
        if let Some(record) = pair.ends[1].transmit(pair.now).then(|| pair.ends[1].link.pop_back().unwrap()) {
            // Of what comes back, only the credit is taken.
            for frame in frames(&record) {
                if let Frame::Window { channel, bytes } = frame {
                    let credit = crate::peer::frame::Piece::from(Frame::Window { channel, bytes });
                    let mut record = Vec::new();
                    credit.write(&mut record);
                    pair.ends[0].deliver(&record, pair.now);
                }
            }
        }
        assert!(asked < 100_000, "bounded");
    }
}

#[test]
fn the_round_trip_time_is_that_of_pings() {
    let mut pair = Pair::new();
    assert_eq!(pair.ends[0].mux.round_trip(), None);
    pair.ends[0].mux.tick(pair.now).unwrap();
    assert!(pair.ends[0].transmit(pair.now));
    pair.now += Duration::from_millis(30);
    pair.deliver(0);
    assert!(pair.ends[1].transmit(pair.now));
    pair.now += Duration::from_millis(10);
    pair.deliver(1);
    assert_eq!(pair.ends[0].mux.round_trip(), Some(Duration::from_millis(40)));
}

#[test]
fn silence_is_noticed_after_the_idle_time_and_not_before() {
    let mut pair = Pair::new();
    let idle = PeerLimits::default().idle;
    let start = pair.now;
    while pair.now < start + idle {
        assert_eq!(pair.ends[0].mux.tick(pair.now), Ok(()));
        let next = pair.ends[0].mux.next_tick();
        assert!(next > pair.now, "time goes on");
        pair.now = next;
    }
    assert_eq!(pair.now, start + idle);
    assert!(pair.ends[0].mux.tick(pair.now).is_err());
}

#[test]
fn a_goodbye_comes_after_everything_that_can_be_sent() {
    let mut pair = Pair::new();
    let channel = pair.open(OPTIONS);
    for number in 0..8u8 {
        pair.send(0, channel, vec![number; 6_000]);
    }
    pair.ends[0].mux.close("done");
    pair.settle();
    assert!(!pair.ends[0].mux.has_said_goodbye(), "it waits for credit");
    for number in 0..8u8 {
        assert_eq!(pair.received(1, channel).unwrap(), vec![number; 6_000]);
        pair.settle();
    }
    assert!(pair.ends[0].mux.has_said_goodbye());
    assert_eq!(pair.ends[1].mux.peer_left(), Some("done"));
    assert!(!pair.ends[0].mux.has_record());
}

/// What a schedule does next. Channels are named by their place among those that were opened.
#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    Accept(usize, usize),
    Refuse(usize, usize),
    Send(usize, usize, usize),
    Receive(usize, usize),
    Finish(usize, usize),
    Reset(usize, usize),
    Transmit(usize),
    Deliver(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (end, channel) = (0..2usize, 0..6usize);
    let length = prop_oneof![4 => 0..100usize, 3 => 0..30_000usize, 1 => 60_000..200_000usize];
    let at = (end.clone(), channel.clone());
    prop_oneof![
        2 => end.clone().prop_map(Step::Open),
        3 => at.clone().prop_map(|(end, channel)| Step::Accept(end, channel)),
        1 => at.clone().prop_map(|(end, channel)| Step::Refuse(end, channel)),
        12 => (end.clone(), channel, length).prop_map(|(end, channel, length)| Step::Send(end, channel, length)),
        6 => at.clone().prop_map(|(end, channel)| Step::Receive(end, channel)),
        1 => at.clone().prop_map(|(end, channel)| Step::Finish(end, channel)),
        1 => at.prop_map(|(end, channel)| Step::Reset(end, channel)),
        12 => end.clone().prop_map(Step::Transmit),
        12 => end.prop_map(Step::Deliver),
        1 => (0..4000u64).prop_map(Step::Wait),
    ]
}

/// What was sent and received on each channel in each direction (by its sender).
#[derive(Default)]
struct Model {
    channels: Vec<u32>,
    sent: BTreeMap<(u32, usize), Vec<Bytes>>,
    received: BTreeMap<(u32, usize), usize>,
    /// Channels of which messages may have been dropped.
    cut_short: Vec<u32>,
    next_byte: u8,
}

impl Model {
    fn receive(&mut self, pair: &mut Pair, end: usize, channel: u32) -> bool {
        let Some(body) = pair.received(end, channel) else { return false };
        let place = self.received.entry((channel, 1 - end)).or_default();
        assert_eq!(self.sent[&(channel, 1 - end)].get(*place), Some(&body), "in order, and nothing else");
        *place += 1;
        true
    }

    fn run(&mut self, pair: &mut Pair, step: &Step) {
        let nth = |place: usize, channels: &[u32]| channels.get(place).copied();
        match *step {
            Step::Open(end) => self.channels.extend(pair.ends[end].mux.open("x", OPTIONS).ok()),
            Step::Accept(end, place) => {
                if let Some(channel) = nth(place, &self.channels) {
                    pair.ends[end].mux.accept(channel, OPTIONS);
                }
            }
            Step::Refuse(end, place) => {
                if let Some(channel) = nth(place, &self.channels) {
                    pair.ends[end].mux.refuse(channel, "no");
                }
            }
            Step::Send(end, place, length) => {
                let Some(channel) = nth(place, &self.channels) else { return };
                self.next_byte = self.next_byte.wrapping_add(1);
                let body = Bytes::from(vec![self.next_byte; length]);
                if pair.ends[end].mux.send(channel, Message::plain(body.clone())).is_ok() {
                    self.sent.entry((channel, end)).or_default().push(body);
                }
            }
            Step::Receive(end, place) => {
                if let Some(channel) = nth(place, &self.channels) {
                    self.receive(pair, end, channel);
                }
            }
            Step::Finish(end, place) => {
                if let Some(channel) = nth(place, &self.channels) {
                    pair.ends[end].mux.finish(channel);
                }
            }
            Step::Reset(end, place) => {
                if let Some(channel) = nth(place, &self.channels) {
                    pair.ends[end].mux.reset(channel, "reset");
                    self.cut_short.push(channel);
                }
            }
            Step::Transmit(end) => _ = pair.ends[end].transmit(pair.now),
            Step::Deliver(end) => _ = pair.deliver(end),
            Step::Wait(milliseconds) => {
                pair.now += Duration::from_millis(milliseconds);
                for end in &mut pair.ends {
                    let _ = end.mux.tick(pair.now); // a schedule may be silent for long
                }
            }
        }
        for end in &mut pair.ends {
            end.collect();
            for channel in end.mux.channels.values() {
                let bound = OPTIONS.window_bytes + OPTIONS.message_bytes_max;
                assert!(channel.held_bytes() <= u64::from(bound), "memory is bounded");
            }
        }
    }

    /// Receives all that is there or can still come.
    fn finish(&mut self, pair: &mut Pair) {
        let mut moved = true;
        while moved {
            pair.settle();
            moved = false;
            for channel in self.channels.clone() {
                for end in 0..2 {
                    while self.receive(pair, end, channel) {
                        moved = true;
                    }
                }
            }
        }
        for ((channel, end), sent) in &self.sent {
            let received = self.received.get(&(*channel, *end)).copied().unwrap_or(0);
            if !self.cut_short.contains(channel) {
                assert_eq!(received, sent.len(), "channel {channel} of end {end}: everything arrived");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_the_schedule_each_channel_delivers_what_was_sent_in_order(steps in vec(step(), 0..250)) {
        let (mut pair, mut model) = (Pair::new(), Model::default());
        for step in &steps {
            model.run(&mut pair, step);
        }
        model.finish(&mut pair);
    }

    #[test]
    fn a_link_that_is_cut_anywhere_has_delivered_a_prefix(steps in vec(step(), 0..250), cut in 0..250usize) {
        let (mut pair, mut model) = (Pair::new(), Model::default());
        for (place, step) in steps.iter().enumerate() {
            if place == cut {
                pair.ends.iter_mut().for_each(|end| end.link.clear());
            }
            if place >= cut && matches!(step, Step::Deliver(_)) {
                continue;
            }
            model.run(&mut pair, step);
        }
        for channel in model.channels.clone() {
            for end in 0..2 {
                while model.receive(&mut pair, end, channel) {}
            }
        }
    }
}
