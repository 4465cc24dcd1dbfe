//! The channel machine of a peer connection: any records are taken or refused, whatever its user does between them, and
//! everything that it has to send gets sent.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use standby::peer::mux::{Event, Message, Mux, Side};
use standby::peer::{ChannelOptions, PeerLimits, RECORD_FRAMES_BYTES_MAX};

const OPTIONS: ChannelOptions = ChannelOptions { window_bytes: 8192, message_bytes_max: 1 << 16 };

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let limits = PeerLimits { channels_max: 8, ..PeerLimits::default() };
    let mut mux = Mux::new(Side::Listener, limits, now);
    mux.open("ours", OPTIONS).expect("the first channel");
    let (mut rest, mut pieces, mut record) = (bytes, Vec::new(), Vec::new());
    // Each record: its length, and what the user of the machine does after it.
    while let [length, deed, after @ ..] = rest {
        let (received, after) = after.split_at((*length as usize).min(after.len()));
        rest = after;
        if mux.receive(received, now).is_err() {
            return;
        }
        while let Some(event) = mux.next_event() {
            match event {
                Event::Opened(channel, _) if deed & 1 == 0 => _ = mux.accept(channel, OPTIONS),
                Event::Opened(channel, name) => mux.refuse(channel, &name),
                Event::Readable(channel) if deed & 2 == 0 => while mux.receive_message(channel).is_some() {},
                Event::Readable(channel) => {
                    let _ = mux.send(channel, Message::plain(vec![*deed; 3 * usize::from(*deed)].into()));
                }
                _ => {}
            }
        }
        let channel = u32::from(deed >> 5);
        match deed & 28 {
            4 => mux.finish(channel),
            8 => mux.reset(channel, "reset"),
            12 => mux.discard(channel),
            16 => mux.release(channel),
            20 => _ = mux.tick(now),
            24 => mux.close("done"),
            _ => {}
        }
        while mux.next_record(&mut pieces, now) {
            record.clear();
            pieces.drain(..).for_each(|piece| piece.write(&mut record));
            assert!(!record.is_empty() && record.len() <= RECORD_FRAMES_BYTES_MAX);
        }
        assert!(!mux.has_record(), "what is to be sent was sent");
    }
});
