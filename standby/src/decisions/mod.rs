//! The decided log: Raft, by `openraft`, kept in `control.redb`.
//!
//! | file | what |
//! |---|---|
//! | [`types`] | what the log is made of |
//! | [`control`] | the file |
//! | [`charter`] | which log a node takes part in |
//! | [`founding`] | beginning one |
//! | [`raft`] | one node's part in deciding |
//! | `members` | who takes part |
//! | [`network`], [`mod@line`] | what voters say to each other, on peer connections |
//! | [`log`] | the log in it: entries, the vote |
//! | [`state`] | what the applied entries amount to, and snapshots of that |

pub mod charter;
pub mod control;
pub mod founding;
pub mod line;
pub mod log;
mod members;
pub mod network;
pub mod raft;
pub mod state;
pub mod types;

#[cfg(test)]
mod line_test;
#[cfg(test)]
mod raft_test;
#[cfg(test)]
mod storage_test;
