//! Where the world outside comes in: the network, clocks, chance, work that may wait for a disk. In the simulation of whole
//! nodes (feature `simulation`, never on in products) all of it is simulated, and nothing in this crate but this module knows.
//! Files come from [`replica::world`].

#[cfg(not(feature = "simulation"))]
mod machine;
#[cfg(feature = "simulation")]
mod simulated;

#[cfg(not(feature = "simulation"))]
pub use machine::*;
pub(crate) use replica::world::{database, fs, now};
#[cfg(feature = "simulation")]
pub use simulated::*;
