//! Replication: a sink's copy of a storage follows a source's.
//!
//! The sink dials, and says what it has; the source answers with a [`plan`]; then transactions flow. Both ends are pure
//! state machines, [`source`] and [`sink`]: `(now, event) -> actions`. What they exchange is in [`message`]; the tasks
//! that own channels and storages carry out what they decide.

pub mod copy;
pub mod downstream;
pub mod followers;
pub mod message;
pub mod plan;
mod ready_now;
pub mod route;
pub mod run;
pub mod sink;
pub mod source;
pub mod upstream;

#[cfg(test)]
mod message_test;
#[cfg(test)]
mod simulation_test;
#[cfg(test)]
mod source_test;
