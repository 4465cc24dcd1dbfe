use proptest::prelude::*;

use super::*;

fn unpack(run: Bytes) -> Result<Vec<Bytes>, BadRun> {
    Unpacker(Decompressor::new().expect("memory")).unpack(run).map(Vec::from)
}

fn pack(messages: &[Bytes]) -> Bytes {
    Packer::new().expect("memory").pack(messages).expect("it gets shorter")
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
        kinds in prop::collection::vec((any::<bool>(), 0..3000usize), 0..40)
    ) {
        let message = |(plain, length): &(bool, usize)| {
            if *plain { Bytes::from(vec![7; *length]) } else { noise(*length) }
        };
        let messages: Vec<Bytes> = kinds.iter().map(message).collect();
        let mut unpacked = Vec::new();
        for piece in Packer::new().unwrap().pack_all(messages.clone()) {
            match piece.first() {
                Some(&KIND) => unpacked.extend(unpack(piece).unwrap()),
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
    let mut packer = Packer::new().unwrap();
    let large = Bytes::from(vec![3; RUN_BYTES_MAX]);
    let small = Bytes::from(vec![4; RUN_BYTES_MAX / 2]);
    let messages = vec![small.clone(), small.clone(), large.clone(), small.clone()];
    let packed = packer.pack_all(messages);
    assert_eq!(packed.len(), 4, "two halves and their lengths are more than a run holds");
    assert_eq!(packed[2], large);
    assert!(packed[0].len() < 1000 && packed[3].len() < 1000);
}

#[test]
fn what_does_not_get_shorter_travels_as_it_is() {
    let messages = vec![noise(1000), noise(10)];
    assert_eq!(Packer::new().unwrap().pack_all(messages.clone()), messages);
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
