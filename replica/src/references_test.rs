use proptest::prelude::*;

use super::*;

fn found(state: &[u8]) -> Result<Vec<u64>, BadPickle> {
    let mut data = b"\x80\x03capp\nThing\n.".to_vec();
    data.extend_from_slice(state);
    let mut oids = Vec::new();
    references(&data, &mut oids).map(|()| oids.into_iter().map(Oid::get).collect())
}

/// The forms of persistent ids in ZODB/serialize.py.
#[test]
fn every_form_of_a_reference_is_found_and_weak_and_foreign_ones_are_not() {
    let oid = b"\0\0\0\0\0\0\0\x07";
    let form =
        |parts: &[&[u8]]| found(&[&b"\x80\x03"[..], &parts.concat(), b"Q."].concat()).expect("a pickle");
    assert_eq!(form(&[b"C\x08", oid]), [7]);
    assert_eq!(form(&[b"U\x08", oid]), [7]);
    assert_eq!(form(&[b"C\x08", oid, b"capp\nThing\n\x86"]), [7]);
    assert_eq!(form(&[b"(C\x08", oid, b"capp\nThing\nt"]), [7]);
    assert_eq!(form(&[b"](X\x01\0\0\0wC\x08", oid, b"\x85e"]), [0u64; 0]);
    assert_eq!(form(&[b"](X\x01\0\0\0mX\x02\0\0\0dbC\x08", oid, b"capp\nThing\n\x87e"]), [0u64; 0]);
    assert_eq!(form(&[b"]C\x08", oid, b"a"]), [0u64; 0]);
    assert_eq!(form(&[b"c_codecs\nencode\n(X\x08\0\0\0", oid, b"X\x06\0\0\0latin1tR"]), [7]);
}

#[test]
fn a_reference_out_of_the_memo_is_found() {
    assert_eq!(found(b"\x80\x03(C\x08\0\0\0\0\0\0\0\x05q\x01h\x01Q0h\x01Qt."), Ok(vec![5, 5]));
}

#[test]
fn what_is_no_record_is_an_error() {
    for state in [
        &b""[..],
        b".",
        b"Q.",
        b"\x80\x03C\x08\0\0",
        b"h\x01.",
        b"\x80\x03NQ.",
        b"\x80\x03C\x01aQ.",
        b"\xff.",
    ] {
        assert!(found(state).is_err(), "{state:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_references_or_an_error(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut oids = Vec::new();
        let _ = references(&data, &mut oids);
        prop_assert!(oids.len() <= data.len());
    }
}

/// ZODB writes both pickles with one pickler: the second refers to what the first has memorized.
#[test]
fn the_memo_of_the_first_pickle_goes_on_in_the_second() {
    let mut oids = Vec::new();
    references(b"\x80\x03C\x08\0\0\0\0\0\0\0\x05q\x01.\x80\x03h\x01Q.", &mut oids).expect("two pickles");
    assert_eq!(oids, [Oid::new(5)]);
}
