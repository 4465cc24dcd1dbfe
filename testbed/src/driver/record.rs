use zeo_proto::Oid;

/// A record as ZODB writes it, of at least 72 and otherwise exactly `length` bytes: a `PersistentMapping` that holds
/// bytes made from `seed`. ZODB's tools, and a pack, can read it.
pub fn record(length: usize, seed: u64) -> Vec<u8> {
    referring_record(length, seed, &[])
}

/// The same with references to other such objects, 39 bytes longer for each.
pub fn referring_record(length: usize, seed: u64, references: &[Oid]) -> Vec<u8> {
    let mut record = Vec::with_capacity(length + references.len() * 39);
    record.extend_from_slice(b"\x80\x03cpersistent.mapping\nPersistentMapping\n.");
    record.extend_from_slice(b"\x80\x03}X\x04\x00\x00\x00data}K\x01B");
    let padding = length.saturating_sub(record.len() + 4 + 3).max(8);
    record.extend_from_slice(&u32::try_from(padding).unwrap_or(u32::MAX).to_le_bytes());
    let mut state = seed;
    let mut left = padding;
    while left > 0 {
        // SplitMix64: bytes that do not compress and differ for every seed
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bytes = (word ^ (word >> 31)).to_le_bytes();
        let taken = left.min(8);
        record.extend_from_slice(&bytes[..taken]);
        left -= taken;
    }
    for (key, oid) in (2u16..).zip(references) {
        // The entry before is set, then the key and (oid, class).
        record.extend_from_slice(b"sM");
        record.extend_from_slice(&key.to_le_bytes());
        record.extend_from_slice(b"C\x08");
        record.extend_from_slice(&oid.to_bytes());
        record.extend_from_slice(b"cpersistent\nPersistent\n\x86Q");
    }
    record.extend_from_slice(b"ss.");
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_length_asked_for_and_the_content_of_its_seed() {
        for length in [64, 100, 400, 401, 5000] {
            assert_eq!(record(length, 1).len(), length.max(72), "{length}");
        }
        assert_eq!(record(400, 7), record(400, 7));
        assert_ne!(record(400, 7), record(400, 8));
        assert_eq!(referring_record(400, 7, &[Oid::ROOT; 3]).len(), 400 + 3 * 39);
    }
}
