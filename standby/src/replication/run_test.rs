use proptest::prelude::*;

use super::*;

fn unpack(run: Bytes) -> Result<Vec<Bytes>, BadRun> {
    Unpacker(Decompressor::new().expect("memory")).unpack(run).map(Vec::from)
}

fn pack_all(compression: Compression, messages: &[Bytes]) -> Vec<Bytes> {
    let mut packer = Packer::new(compression).expect("memory");
    let mut ready = Vec::new();
    messages.iter().for_each(|message| packer.push(message, &mut ready));
    packer.flush(&mut ready);
    ready
}

fn pack(messages: &[Bytes]) -> Bytes {
    let mut packed = pack_all(Compression::Zstd, messages);
    assert_eq!((packed.len(), packed[0][0]), (1, KIND), "it gets shorter");
    packed.remove(0)
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Bytes {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn claim(run: &Bytes, plain_bytes: u32) -> Bytes {
    let mut changed = run.to_vec();
    changed[1..HEADER].copy_from_slice(&plain_bytes.to_be_bytes());
    changed.into()
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked_as_it_was(
        kinds in prop::collection::vec((any::<bool>(), prop_oneof![0..3000usize, 0..100_000usize]), 0..40),
        compressed: bool,
    ) {
        let message = |(plain, length): &(bool, usize)| {
            if *plain { Bytes::from(vec![7; *length]) } else { noise(*length) }
        };
        let messages: Vec<Bytes> = kinds.iter().map(message).collect();
        let compression = if compressed { Compression::Zstd } else { Compression::None };
        let mut unpacked = Vec::new();
        for piece in pack_all(compression, &messages) {
            match piece.first() {
                Some(&KIND) => unpacked.extend(unpack(piece).unwrap()),
                Some(&KIND_PLAIN) => {
                    prop_assert!(piece.len() <= COMPRESSED_BYTES.max(PLAIN_BYTES));
                    unpacked.extend(split(piece.slice(HEADER_PLAIN..)).unwrap());
                }
                _ => unpacked.push(piece),
            }
        }
        prop_assert_eq!(unpacked, messages);
    }

    #[test]
    fn a_run_that_was_changed_does_no_harm(at in 1..200usize, value: u8) {
        let mut run = pack(&[vec![1; 1000].into(), noise(100)]).to_vec();
        let at = at % run.len();
        run[at] = value;
        let _ = unpack(run.into());
    }
}

#[test]
fn a_run_is_bounded_and_a_longer_message_travels_as_it_is() {
    let large = Bytes::from(vec![3; RUN_BYTES_MAX]);
    let small = Bytes::from(vec![4; COMPRESSED_BYTES / 2]);
    let packed = pack_all(Compression::Zstd, &[small.clone(), small.clone(), large.clone(), small.clone()]);
    assert_eq!(packed.len(), 4, "two halves and their lengths are more than a run holds");
    assert_eq!(packed[2], large);
    assert!(packed[0].len() < 1000 && packed[3].len() < 1000);
}

#[test]
fn without_compression_what_fits_one_frame_travels_together() {
    let small = Bytes::from(vec![4; PLAIN_BYTES / 4]);
    let large = Bytes::from(vec![3; 10 * PLAIN_BYTES]);
    let messages = [vec![small.clone(); 5], vec![large.clone(), small.clone()]].concat();
    let packed = pack_all(Compression::None, &messages);
    let lengths: Vec<usize> = packed.iter().map(Bytes::len).collect();
    let run = |count| HEADER_PLAIN + count * (LENGTH + small.len());
    assert_eq!(lengths, [run(3), run(2), large.len(), small.len()], "one alone is no run");
    assert_eq!(packed[2..], [large, small]);
}

#[test]
fn a_message_that_is_taken_back_leaves_no_trace_in_a_run() {
    let mut packer = Packer::new(Compression::None).unwrap();
    let mut ready = Vec::new();
    let begin_in_vain = |packer: &mut Packer| {
        packer.begin().extend_from_slice(b"begun");
        packer.take_back();
    };
    begin_in_vain(&mut packer);
    packer.flush(&mut ready);
    assert!(ready.is_empty());
    packer.push(b"first", &mut ready);
    begin_in_vain(&mut packer);
    packer.push(b"second", &mut ready);
    packer.flush(&mut ready);
    assert_eq!(ready, [&b"\x8e\0\0\0\x05first\0\0\0\x06second"[..]]);
}

#[test]
fn what_goes_before_a_message_does_not_wait_for_it() {
    for compression in [Compression::None, Compression::Zstd] {
        let mut packer = Packer::new(compression).unwrap();
        let mut ready = Vec::new();
        packer.begin().extend_from_slice(b"first");
        assert_eq!(packer.end_apart(&mut ready), b"first"[..]);
        assert!(ready.is_empty());
        packer.push(b"second", &mut ready);
        packer.begin().extend_from_slice(b"third");
        assert_eq!(packer.end_apart(&mut ready), b"third"[..]);
        assert_eq!(ready, [&b"second"[..]]);
        packer.flush(&mut ready);
        assert_eq!(ready.len(), 1);
    }
}

#[test]
fn what_does_not_get_shorter_travels_uncompressed() {
    let messages = [noise(1000), noise(10)];
    assert_eq!(pack_all(Compression::Zstd, &messages), pack_all(Compression::None, &messages));
    assert_eq!(pack_all(Compression::Zstd, &messages[..1]), messages[..1]);
}

#[test]
fn a_run_that_holds_more_than_it_says_or_may_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 100 << 20], LEVEL).unwrap();
    assert!(bomb.len() < 100_000);
    let mut run = vec![KIND, 0, 0, 0, 0];
    run.extend_from_slice(&bomb);
    let run = Bytes::from(run);
    assert_eq!(unpack(claim(&run, 100 << 20)), Err(BadRun("it is too long")));
    assert_eq!(
        unpack(claim(&run, RUN_BYTES_MAX as u32)),
        Err(BadRun("it is damaged, or longer than it says"))
    );
    let run = pack(&[vec![0; 1000].into()]);
    assert_eq!(unpack(claim(&run, 1005)), Err(BadRun("it is shorter than it says")));
    assert_eq!(unpack(run.slice(..4)), Err(BadRun("it is too short")));
}

#[test]
fn messages_that_are_cut_off_within_a_run_are_refused() {
    let run_of = |plain: &[u8]| {
        let mut run = vec![KIND];
        run.put_u32(plain.len() as u32);
        run.extend_from_slice(&zstd::bulk::compress(plain, LEVEL).unwrap());
        Bytes::from(run)
    };
    assert_eq!(unpack(run_of(b"\0\0\0\x05four")), Err(BadRun("a message is cut off")));
    assert_eq!(unpack(run_of(b"\0\0")), Err(BadRun("a length is cut off")));
    assert_eq!(unpack(run_of(b"\0\0\0\x04four")), Ok(vec![Bytes::from_static(b"four")]));
}
