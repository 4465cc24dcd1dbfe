//! Histories of clients of a model store are believed; and none of them is after it was tampered with.

mod store;
mod tampering;

use proptest::prelude::*;
use proptest::sample::Index;
use standby_checker::check;
use store::{Model, steps};
use tampering::{Run, TAMPERINGS};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_store_is_believed_and_none_that_was_tampered_with(steps in steps(), index: Index) {
        let model = Model::after(&steps);
        let run = Run::of(&model);
        let verdict = check(&run.histories, &run.log, &run.lost);
        prop_assert!(verdict.is_honest(), "{}", verdict);
        for (tampering, kinds) in TAMPERINGS {
            let mut tampered = run.clone();
            if tampered.tamper(tampering, index).is_some() {
                let verdict = check(&tampered.histories, &tampered.log, &tampered.lost);
                prop_assert!(kinds.iter().all(|kind| verdict.names(*kind)), "{:?}: {}", tampering, verdict);
            }
        }
    }
}

/// None of the ways to tamper is without an occasion.
#[test]
fn every_way_to_tamper_has_an_occasion() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut occasions = [0; TAMPERINGS.len()];
    for _ in 0..50 {
        let steps = steps().new_tree(&mut runner).expect("steps").current();
        let index = any::<Index>().new_tree(&mut runner).expect("an index").current();
        let run = Run::of(&Model::after(&steps));
        for ((tampering, _), occasions) in TAMPERINGS.iter().zip(&mut occasions) {
            *occasions += usize::from(run.clone().tamper(*tampering, index).is_some());
        }
    }
    for ((tampering, _), occasions) in TAMPERINGS.iter().zip(occasions) {
        assert!(occasions >= 5, "{tampering:?} had {occasions} occasions");
    }
}
