//! Whole nodes of Standby in a simulated world: see `docs/simulation.md`.

pub mod cluster;
mod panics;
pub mod rounds;
