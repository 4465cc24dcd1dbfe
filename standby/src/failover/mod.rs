//! Who is the primary, and until when: decided by a replicated log, so that no two nodes ever commit at one time.
//!
//! | file | what |
//! |---|---|
//! | [`entry`] | what is proposed to the log |
//! | [`decided`] | what the entries amount to: the same on every node that has applied the same ones |
//! | [`machine`] | what one node does about them: `(clock, event) -> actions` |
//! | `leader` | a primary's own view of its leases |
//! | [`history`] | what has happened, for operators |
//! | [`order`] | what an operator asks of a node |
//! | [`choice`] | which replica is promoted |
//! | [`loss`] | what was lost, for those who have seen it |
//! | [`lease`] | the lease as those see it who must ask before each reply |
//! | [`settings`] | what is set for the whole cluster, at run time |
//! | [`promise`] | which nodes must answer before it is known that nothing acknowledged is lost |
//! | [`flaps`] | nodes that come and go |
//! | [`timing`] | how long a lease is, and how long others wait |
//!
//! The argument for safety is in `docs/failover.md`. Neither the log nor membership is known here: the same code runs on a
//! model of them, which is how it is tested.

pub mod choice;
pub mod decided;
pub mod entry;
pub mod flaps;
pub mod history;
mod leader;
pub mod lease;
pub mod loss;
pub mod machine;
pub mod order;
pub mod promise;
pub mod settings;
pub mod timing;

#[cfg(test)]
mod simulation;
