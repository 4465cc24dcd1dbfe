//! The operator's tool: a client of the control API.

pub mod client;
pub mod endpoint;
pub mod history;
pub mod reach;
pub mod status;
mod table;
pub mod units;
pub mod view;
