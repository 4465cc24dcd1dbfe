//! Decides whether what the clients of a ZODB storage did and were told is what an honest storage could have given.
//!
//! Each client writes down every operation with its answer, one line of JSON each ([`Entry`]). At the end there is a log
//! that has survived, and what is reported lost, as lines of [`Transaction`]. [`check`] holds them against each
//! other, and names what does not fit in words ([`Verdict`], [`Kind`]):
//!
//! * transactions are in the log in the order of tids, no tid stands for two, and what began after the answer to another
//!   has the higher tid;
//! * what was acknowledged is there, whole, unless it is reported lost; what was refused is not; what is unknown is there
//!   whole or not at all; and nothing is there that nobody wrote;
//! * nothing was changed on the basis of a revision that was not the current one;
//! * all that is read in one transaction is as of one moment, which never goes back; and what was lost is not read any more by
//!   who has been told of what came instead;
//! * where clients write down what they were told of others' transactions: all of it came, in order, before it was seen.
//!
//! It knows nothing of how the storage works, except that what came instead of a lost transaction has a higher tid
//! (Standby's boundary): so it is clear from the last transaction that a client has seen which history it was in.
//!
//! Values are stamps: nobody writes the same one twice to an object.

mod commits;
mod hex;
mod history;
mod invalidations;
mod reads;
#[cfg(feature = "recorder")]
mod recorder;
mod verdict;
mod world;

pub use history::{Entry, History, Operation, Outcome, ReadError, Stored, Transaction, Write, read_lines};
#[cfg(feature = "recorder")]
pub use recorder::{Recorder, value_of};
pub use verdict::{Counts, Fault, Kind, Place, Verdict};

/// Judges these histories by the log that has survived, in its order, and by what is reported lost: of each copy that had
/// to give something up, all that it had behind the last transaction that it has in common with the log.
pub fn check(histories: &[History], log: &[Transaction], lost: &[Vec<Transaction>]) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.counts.transactions = log.len();
    let world = world::World::new(log, lost, &mut verdict);
    commits::judge(histories, &world, &mut verdict);
    reads::judge(histories, &world, &mut verdict);
    invalidations::judge(histories, &world, &mut verdict);
    verdict
}
