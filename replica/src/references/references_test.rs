use proptest::prelude::*;

use super::*;

fn references(state: &[u8]) -> Result<Vec<u64>, ReferenceError> {
    let mut found = Vec::new();
    let data = [b"cmodule\nClass\n.".as_slice(), state].concat();
    ReferenceScanner::new().scan(&data, |oid| found.push(oid.get()))?;
    Ok(found)
}

const OID: u64 = u64::from_be_bytes(*b"abcdefgh");

#[test]
fn an_oid_is_found_however_it_is_written() {
    for state in [
        b"C\x08abcdefghQ.".as_slice(),
        b"B\x08\0\0\0abcdefghQ.",
        b"\x8e\x08\0\0\0\0\0\0\0abcdefghQ.",
        b"U\x08abcdefghQ.",
        b"T\x08\0\0\0abcdefghQ.",
        b"S'abc\\x64efgh'\nQ.",
        b"S\"abc\\144efgh\"\nQ.",
        b"X\x08\0\0\0abcdefghQ.",
        b"\x8c\x08abcdefghQ.",
        b"\x8d\x08\0\0\0\0\0\0\0abcdefghQ.",
        b"Vabc\\u0064efgh\nQ.",
        b"Pabcdefgh\n.",
        b"c_codecs\nencode\n(X\x08\0\0\0abcdefghX\x06\0\0\0latin1tRQ.",
        b"C\x08abcdefghcapp\nC\n\x86Q.",
        b"(C\x08abcdefghcapp\nC\ntQ.",
        b"c_codecs\nencode\nX\x08\0\0\0abcdefghX\x06\0\0\0latin1\x86Rcapp\nC\n\x86Q.",
        b"C\x08abcdefghq\x070h\x07Q.",
        b"C\x08abcdefghp9\n0g9\nQ.",
        b"C\x08abcdefghr\xff\xff\xff\x7f0j\xff\xff\xff\x7fQ.",
        b"\x80\x04\x95\0\0\0\0\0\0\0\0C\x08abcdefgh\x940h\0Q.",
        b"\x8c\x07_codecs\x8c\x06encode\x93\x8c\x08abcdefgh\x8c\x06latin1\x86RQ.",
        b"C\x08abcdefgh2Q.",
        b"(K\x010C\x08abcdefghNI1\nJ\0\0\0\0(01C\x08abcdefghQ.",
    ] {
        assert_eq!(references(state), Ok(vec![OID]), "{:?}", state.escape_ascii().to_string());
    }
    let latin = b"c_codecs\nencode\n(X\x09\0\0\0abcdefg\xc3\xa9X\x06\0\0\0latin1tRQ.";
    assert_eq!(references(latin), Ok(vec![u64::from_be_bytes(*b"abcdefg\xe9")]));
}

#[test]
fn weak_references_and_those_to_other_databases_are_none() {
    for state in [
        b"]C\x08abcdefghaQ.".as_slice(),
        b"](X\x01\0\0\0wC\x08abcdefgh\x85eQ.",
        b"](X\x01\0\0\0wC\x08abcdefghX\x02\0\0\0db\x86eQ.",
        b"](X\x01\0\0\0nX\x02\0\0\0dbC\x08abcdefgh\x86eQ.",
        b"(X\x01\0\0\0mX\x02\0\0\0dbC\x08abcdefghN\x87lQ.",
        b"C\x08abcdefgh.",
    ] {
        assert_eq!(references(state), Ok(vec![]), "{:?}", state.escape_ascii().to_string());
    }
}

#[test]
fn what_is_no_record_is_an_error() {
    for state in [
        b"".as_slice(),
        b"N",
        b".",
        b"NQ.",
        b")Q.",
        b"C\x07abcdefgQ.",
        b"C\xffabc",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"h\x01.",
        b"t.",
        b"(0Q.",
        b"R.",
        b"\xff.",
        b"I1",
    ] {
        assert!(references(state).is_err(), "{:?}", state.escape_ascii().to_string());
    }
}

#[test]
fn the_state_may_use_the_memo_of_the_class() {
    let mut found = Vec::new();
    let data = b"C\x08abcdefghq\x01.h\x01Q.and more";
    ReferenceScanner::new().scan(data, |oid| found.push(oid.get())).expect("two pickles");
    assert_eq!(found, [OID]);
}

/// Bytes that are often opcodes.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(&b"N(0.12)]}tlduesabQRocqhr\x81\x85\x86\x87\x8f\x90\x91\x92\x93\x94"[..])
            .prop_map(|byte| vec![byte]),
        Just(b"C\x08abcdefgh".to_vec()),
        Just(b"c_codecs\nencode\n".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(data in soup()) {
        let mut scanner = ReferenceScanner::new();
        let mut count = 0;
        let first = scanner.scan(&data, |_| count += 1);
        prop_assert!(count <= data.len());
        // A scanner that met an error is as good as new.
        prop_assert_eq!(scanner.scan(&data, |_| {}), first);
    }
}
