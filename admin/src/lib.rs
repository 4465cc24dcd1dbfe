//! The operator's tool: a client of the control API.

pub mod client;
pub mod history;
pub mod status;
pub mod units;
