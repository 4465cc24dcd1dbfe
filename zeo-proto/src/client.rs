//! A client of ZEO servers, on tokio: for one stock server as for a cluster of Standby nodes.
//!
//! # What it does
//!
//! A [`Client`] keeps one connection to a storage. When it is lost, it dials every address that it knows (those it was
//! [given](Options::addresses), and those that the servers of a cluster [tell](View)) until one lets it in: nodes that
//! are not the primary keep it waiting at their door, and the one that becomes the primary opens. Attempts are
//! spread and repeated with growing, random pauses ([`Backoff`]), so that a thousand clients do not come at one moment.
//!
//! What is read is kept in a [`Cache`] of a bounded size, with older revisions, and changes are told in the order of
//! transactions. After a reconnection the cache is compared with the server's history before anything is read from it
//! again: what has changed meanwhile is dropped, and all of it, if the server cannot tell. A server that lacks what the
//! client has seen is not used.
//!
//! A [`Snapshot`] reads many objects as of one moment. A [`Transaction`] writes. Whoever begins one must be ready to do it
//! again: [`Error::Conflict`] says that others were faster, [`Error::Disconnected`] that the server went and nothing was
//! committed, and [`Error::OutcomeUnknown`] that it went at the one moment at which nobody can tell.
//!
//! Records are bytes here. Conflicts are not resolved, since that needs the classes of an application. Blobs go
//! up with [`Transaction::post`], and down over a [`Connection`] of their own ([`Connection::keep_pushes`]). There is no TLS.
//!
//! # An example
//!
//! A counter in one object, which many clients count up at one time:
//!
//! ```no_run
//! use zeo_proto::client::{Client, Error, Metadata, Options};
//! use zeo_proto::{Oid, Tid};
//!
//! # async fn count() -> Result<(), Error> {
//! let client = Client::start(Options::new(["10.0.0.1:8100", "10.0.0.2:8100", "10.0.0.3:8100"]));
//! let oid = Oid::new(1);
//! let counted = loop {
//!     let now = client.snapshot().await?.load(oid).await?.expect("it is there");
//!     let mut count = [0; 8];
//!     count.copy_from_slice(&now.data);
//!     let next = (u64::from_le_bytes(count) + 1).to_le_bytes();
//!     let mut transaction = client.begin(Metadata::default()).await?;
//!     transaction.store(oid, Some(now.serial), &next);
//!     match transaction.commit().await {
//!         Ok(tid) => break tid,
//!         Err(Error::Conflict(_) | Error::Disconnected(_)) => {} // again, from what is there now
//!         Err(error) => return Err(error),                       // unknown: look what is there, and decide
//!     }
//! };
//! println!("counted in transaction {counted}");
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p zeo-proto --features client --example count -- HOST:PORT` is the same as a program.
//!
//! # How it is made
//!
//! What decides is pure and tested by itself: [`Dialer`] (which addresses, and when), [`Backoff`], [`View`], [`Cache`],
//! [`Verification`]. [`calls`] are the calls of the protocol as data. One task reads and writes the connection, and
//! changes the cache in the order in which answers and invalidations come. [`Connection`] is the layer below: one call at a
//! time, nothing else, for tools and load drivers.

mod address;
mod answers;
mod backoff;
mod cache;
#[cfg(test)]
mod cache_test;
pub mod calls;
mod connection;
mod dialer;
mod error;
mod event;
mod handle;
mod keeper;
mod options;
mod push;
mod session;
mod shared;
mod snapshot;
mod stream;
mod traffic;
mod transaction;
mod verification;
mod view;
mod world;

pub use address::Address;
pub use answers::{Conflict, Invalidations, Metadata, Undoable, Vote};
pub use backoff::Backoff;
pub use cache::{Cache, Revision};
pub use connection::Connection;
pub use dialer::{Access, Dialer};
pub use error::{Error, Refused};
pub use event::{Event, Events};
pub use handle::Client;
pub use options::Options;
pub use push::Push;
pub use snapshot::Snapshot;
pub use stream::Stream;
pub use transaction::Transaction;
pub use verification::Verification;
pub use view::{Node, View};
