//! The operator's tool: a client of the control API.

pub mod add;
pub mod client;
pub mod endpoint;
pub mod history;
pub mod manual;
pub mod pack;
pub mod reach;
pub mod settings;
pub mod status;
mod table;
pub mod units;
pub mod view;
