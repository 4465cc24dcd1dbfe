//! Where the world outside comes in: in the simulation of whole nodes, its network and its chance.

#[cfg(not(feature = "simulation"))]
mod machine {
    use std::hash::{BuildHasher, RandomState};

    pub use tokio::net::TcpStream;

    /// Any number.
    pub(crate) fn random() -> u64 {
        RandomState::new().hash_one(())
    }
}

#[cfg(feature = "simulation")]
mod simulated {
    pub(crate) use simulated_world::chance::any as random;
    pub use turmoil::net::TcpStream;
}

#[cfg(not(feature = "simulation"))]
pub use machine::*;
#[cfg(feature = "simulation")]
pub use simulated::*;
