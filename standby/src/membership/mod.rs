//! Who is alive, and what each node tells of itself: gossip among all nodes of a cluster. It detects and tells; it decides nothing.
//!
//! | file | what |
//! |---|---|
//! | [`swim`] | who is alive, by [`foca`]: `(clock, event) -> actions` |
//! | [`peer`], [`pace`], `timers` | a node as others know it, when nodes ask each other, what happens later |
//! | [`record`], [`told`] | what a node tells of itself, and how that is passed on |
//! | [`message`], [`codec`], [`datagram`] | what one datagram says, foca's part of it, and what protects it |
//! | [`gossip`] | the socket |
//! | [`members`], [`clock`] | what a node sees of the others, and of its own clock |
//! | [`roster`], [`outlook`], [`view`] | that together with what was decided: who belongs and is there, what becomes of them when one is lost, what clients are told |
//!
//! What is spread, when, and the bytes are in `docs/membership.md`.

mod bytes;
pub mod clock;
pub mod codec;
pub mod datagram;
pub mod gossip;
pub mod members;
pub mod message;
pub mod outlook;
pub mod pace;
pub mod peer;
pub mod record;
pub mod roster;
pub mod swim;
mod timers;
pub mod told;
pub mod view;

#[cfg(test)]
mod swim_test;
