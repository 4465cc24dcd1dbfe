//! The operator's tool: a client of the control API.

pub mod add;
pub mod cli;
pub mod client;
pub mod endpoint;
pub mod history;
pub mod lost;
pub mod pack;
pub mod reach;
pub mod settings;
pub mod status;
pub mod style;
mod table;
pub mod units;
pub mod view;
