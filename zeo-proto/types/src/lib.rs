//! The two identifiers of ZODB, as types of their own: [`Oid`] names an object, [`Tid`] a transaction.
//!
//! Both are eight bytes, big-endian, on the wire and on disk, and compare as those bytes do. They live in a
//! crate of their own because the protocol and the storage both speak of them and know nothing of each other.

mod oid;
mod tid;

pub use oid::Oid;
pub use tid::Tid;
