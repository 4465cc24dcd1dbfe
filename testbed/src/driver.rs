//! A load driver on [`zeo_proto::client::Connection`]: cheap enough not to be what is measured.

mod commits;
mod loads;
mod record;

pub use commits::{Committer, Written};
pub use loads::{LoadPlan, drive_loads};
pub use record::{record, referring_record};

/// Whether it is an exception of a server's, and not a connection that is gone.
pub fn is_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error: &zeo_proto::client::Error| error.refused().is_some())
}
