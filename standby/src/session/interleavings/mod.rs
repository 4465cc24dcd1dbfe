//! Several clients at one time, against a model.
//!
//! Each case is a random list of steps of some clients: transactions with conflicts, undos and blobs, aborts, lost
//! connections, loads, packs, acknowledgements of replicas, restarts. The sessions, the service and the storage are the
//! real ones; only sockets and tasks are not there. In their place the case says which connection does what next, down to
//! single jobs and events, so that a case does the same whenever it is run. (The committer has its thread; a step that
//! gives it something waits for it.)
//!
//! The model (`history`, `vote`, `packed`) is told what clients do, and says what they must be told: see `answers`.
//!
//! A case that fails is made smaller, and printed with a line that runs it again.
//!
//! | variable | what |
//! |---|---|
//! | `STANDBY_INTERLEAVING_CASES` | how many cases: 200 else, some 20 s in a debug build; `10000` is for a long run |
//! | `STANDBY_INTERLEAVING_SEED` | the seed of the first case, and the only one if there is no number of cases; the next has the next number |

mod answers;
mod client;
mod commits;
mod history;
mod line;
mod locks;
mod packed;
mod questions;
mod quiet;
mod setup;
mod steps;
mod transactions;
mod vote;
mod whole;
mod world;

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::world::Tally;

/// How many cases there are in a usual run.
const CASES: u64 = 200;

/// What must come about in a usual run, or it shows nothing.
const CAME_ABOUT: [&str; 21] = [
    "acknowledgements",
    "aborts after a vote",
    "aborts before a vote",
    "aborts of a vote that is not answered",
    "answers to getInvalidations",
    "blobs",
    "commits",
    "disconnects with locks",
    "loads of an older revision",
    "loads of before an object's creation",
    "loads of nothing",
    "loads of the current revision",
    "packs",
    "packs refused or redundant",
    "restarts",
    "votes",
    "votes for an undo",
    "votes for an undo refused",
    "votes refused",
    "votes that wait",
    "votes with conflicts",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn clients_see_what_a_model_sees_however_their_calls_interleave() {
    let given = number("STANDBY_INTERLEAVING_SEED");
    let cases = number("STANDBY_INTERLEAVING_CASES").unwrap_or(if given.is_some() { 1 } else { CASES });
    let first = given.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    });
    let tally = RefCell::default();
    (first..first + cases).for_each(|seed| check(seed, &tally));
    let tally = tally.into_inner();
    println!("{tally:#?}");
    let missing: Vec<_> = CAME_ABOUT.into_iter().filter(|what| !tally.contains_key(what)).collect();
    assert!(cases < CASES || missing.is_empty(), "what never came about: {missing:?}");
}

/// Does the case of this seed. Where it fails, that is said of the smallest case that fails.
fn check(seed: u64, tally: &RefCell<Tally>) {
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 1500, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&steps::case(), |case| {
        quiet::quietly(|| world::run(&case, &mut tally.borrow_mut()));
        Ok::<(), TestCaseError>(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!(
            "{reason}\nat {}\nthe smallest case that fails so: {case:#?}\nto run it again:\n\
             STANDBY_INTERLEAVING_SEED={seed} cargo test -p standby --lib interleavings\n",
            quiet::last_panic()
        ),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}
