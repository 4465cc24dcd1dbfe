//! A load driver that speaks ZEO: cheap enough not to be what is measured.

mod commits;
mod connection;
mod loads;
mod record;

pub use commits::{Committer, Written};
pub use connection::{Connection, Refused};
pub use loads::{LoadPlan, drive_loads};
pub use record::{record, referring_record};
