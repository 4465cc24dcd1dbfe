use bytes::Bytes;
use proptest::prelude::*;
use replica::{Checksum, Epoch, Epochs, Place};
use zeo_proto::{Oid, Tid};

use super::message::{
    Flow, FromSink, FromSource, Have, Recovery, TRANSACTION_HEADER, put_transaction_header,
};
use super::route::{Route, UPSTREAMS_MAX};
use super::run::Compression;

fn tid() -> impl Strategy<Value = Tid> {
    (0..=Tid::MAX.get()).prop_map(Tid::new)
}

fn checksum() -> impl Strategy<Value = Checksum> {
    any::<[u8; 16]>().prop_map(Checksum::from_bytes)
}

fn place() -> impl Strategy<Value = Place> {
    (tid(), checksum()).prop_map(|(tid, checksum)| Place { tid, checksum })
}

fn epochs() -> impl Strategy<Value = Epochs> {
    prop::collection::btree_set(1..Tid::MAX.get(), 0..6).prop_map(|boundaries| {
        let mut last = 0;
        let epoch = |(number, boundary): (usize, u64)| {
            let (fork, node) = (Tid::new(last.min(boundary - 1)), format!("node {number} ü"));
            last = boundary;
            Epoch { epoch: number as u64 + 1, boundary: Tid::new(boundary), fork, node }
        };
        Epochs::new(boundaries.into_iter().enumerate().map(epoch).collect()).expect("they fit")
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn from_sink() -> impl Strategy<Value = FromSink> {
    let compression = prop_oneof![Just(Compression::None), Just(Compression::Zstd)];
    let recovery = prop_oneof![Just(Recovery::Full), Just(Recovery::Fast)];
    prop_oneof![
        (epochs(), place(), place(), recovery, compression, prop::option::of(tid())).prop_map(
            |(epochs, first, last, recovery, compression, recovering)| {
                FromSink::Have { have: Have { epochs, first, last }, recovery, compression, recovering }
            }
        ),
        prop::option::of(checksum()).prop_map(FromSink::Compared),
        tid().prop_map(FromSink::Durable),
        ".{0,99}".prop_map(FromSink::Failed),
    ]
}

fn from_source() -> impl Strategy<Value = FromSource> {
    let flow = prop_oneof![Just(Flow::All), Just(Flow::Current)];
    prop_oneof![
        tid().prop_map(FromSource::Compare),
        (flow, tid(), prop::option::of(place()), epochs())
            .prop_map(|(what, after, anchor, epochs)| FromSource::Stream { what, after, anchor, epochs }),
        tid().prop_map(|fork| FromSource::Rewind { fork }),
        Just(FromSource::Recover),
        Just(FromSource::Whole),
        (any::<u64>(), any::<bool>(), bytes()).prop_map(|(oid, last, data)| FromSource::Blob {
            oid: Oid::new(oid),
            last,
            data
        }),
        (place(), bytes()).prop_map(|(Place { tid, checksum }, portable)| FromSource::Transaction {
            tid,
            checksum,
            portable
        }),
        tid().prop_map(|until| FromSource::Packed { until }),
        (tid(), any::<u64>(), any::<u64>(), any::<u8>()).prop_map(
            |(last, log_bytes, unix_micros, distance)| FromSource::Alive {
                last,
                log_bytes,
                unix_micros,
                distance
            }
        ),
        prop::collection::vec(".{0,99}", 0..=UPSTREAMS_MAX + 1)
            .prop_map(|nodes| FromSource::Route(Route::new(nodes))),
        ".{0,99}".prop_map(FromSource::Wait),
        ".{0,99}".prop_map(FromSource::Refused),
    ]
}

proptest! {
    #[test]
    fn what_a_sink_says_is_read_as_it_was_written(message in from_sink(), cut in any::<prop::sample::Index>()) {
        let encoded = message.encode();
        prop_assert_eq!(FromSink::decode(encoded.clone()), Ok(message));
        prop_assert!(FromSource::decode(encoded.clone()).is_err());
        prop_assert!(FromSink::decode(encoded.slice(..cut.index(encoded.len()))).is_err());
    }

    #[test]
    fn what_a_source_says_is_read_as_it_was_written(message in from_source()) {
        let encoded = message.encode();
        if let FromSource::Transaction { tid, checksum, portable } = &message {
            let mut header = Vec::new();
            put_transaction_header(&mut header, *tid, *checksum);
            prop_assert_eq!(header.len(), TRANSACTION_HEADER);
            prop_assert_eq!(&encoded[..], [&header[..], portable].concat());
        }
        prop_assert!(FromSink::decode(encoded.clone()).is_err());
        prop_assert_eq!(FromSource::decode(encoded), Ok(message));
    }

    #[test]
    fn nonsense_is_an_error(nonsense in bytes()) {
        let _ = FromSink::decode(nonsense.clone());
        let _ = FromSource::decode(nonsense);
    }
}

#[test]
fn a_long_reason_is_cut_off_between_two_letters() {
    let long = "ü".repeat(600);
    let Ok(FromSource::Refused(cut)) = FromSource::decode(FromSource::Refused(long.clone()).encode()) else {
        panic!("it is a refusal");
    };
    assert_eq!(cut, long[..1000]);
}
