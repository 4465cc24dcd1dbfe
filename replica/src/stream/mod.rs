//! What one copy of a storage gives to another: transactions in a form without positions, and the places in a history
//! at which two copies can be compared.

mod anchoring;
mod beyond;
mod export;
mod import;
mod place;
mod portable;

pub use self::anchoring::AnchorError;
pub use self::beyond::Beyond;
pub use self::export::{Export, Exported, Exporter};
pub use self::import::ImportError;
pub use self::place::Place;
pub use self::portable::NotPortable;
