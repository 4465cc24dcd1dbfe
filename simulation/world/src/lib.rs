//! What a node has around it, for the simulation: disks that forget at a crash what was not synced ([`Disk`], with
//! [`fs`] in place of `std::fs`), a clock ([`clock`]), and a place for work that the real node gives to threads of its own
//! ([`later`]).
//!
//! A world belongs to one thread: what is set up on it is seen on it alone, so that simulations can run side by side, and a
//! thread that was forgotten shows, since it finds no disk.

pub mod chance;
pub mod clock;
mod disk;
pub mod fs;
pub mod later;

pub use chance::Chance;
pub use disk::{Disk, Random};
