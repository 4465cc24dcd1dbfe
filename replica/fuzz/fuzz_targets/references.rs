//! The reference scanner takes any bytes for a record: it neither panics nor finds more references than there are
//! bytes, and an error leaves nothing behind in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replica::ReferenceScanner;

fuzz_target!(|data: &[u8]| {
    let mut scanner = ReferenceScanner::new();
    let mut count = 0;
    let first = scanner.scan(data, |_| count += 1);
    assert!(count <= data.len());
    assert_eq!(scanner.scan(data, |_| {}), first);
});
