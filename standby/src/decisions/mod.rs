//! The decided log: Raft, by `openraft`, kept in `control.redb`.
//!
//! | file | what |
//! |---|---|
//! | [`types`] | what the log is made of |
//! | [`control`] | the file |
//! | [`log`] | the log in it: entries, the vote |
//! | [`state`] | what the applied entries amount to, and snapshots of that |

pub mod control;
pub mod log;
pub mod state;
pub mod types;

#[cfg(test)]
mod storage_test;
