//! Who is alive, and what each node tells of itself: gossip among all nodes of a cluster. It detects and tells; it decides nothing.
//!
//! | file | what |
//! |---|---|
//! | [`swim`] | who is alive: `(clock, event) -> actions` |
//! | [`claim`], [`pace`], `table` | what nodes claim of each other, when they ask, what is known and passed on |
//! | [`record`] | what a node tells of itself |
//! | [`message`], [`datagram`] | what one datagram says, and what protects it |
//! | [`gossip`] | the socket |
//! | [`members`], [`clock`] | what a node sees of the others, and of its own clock |
//! | [`roster`], [`outlook`], [`view`] | that together with what was decided: who belongs and is there, what becomes of them when one is lost, what clients are told |
//!
//! What is spread, when, and the bytes are in `docs/membership.md`.

mod bytes;
pub mod claim;
pub mod clock;
pub mod datagram;
pub mod gossip;
pub mod members;
pub mod message;
pub mod outlook;
pub mod pace;
pub mod record;
pub mod roster;
pub mod swim;
mod table;
pub mod view;

#[cfg(test)]
mod swim_test;
