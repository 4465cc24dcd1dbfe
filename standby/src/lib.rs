//! Standby: a highly available storage server for ZODB.
//!
//! | room | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | `serve`, `process`, `opening` | one server, from start to stop |
//! | `node`, [`config`] | a node of a cluster, and what its file says |
//! | `control` | the control API |
//! | [`replication`] | a copy that follows another |
//! | `quiet` | a node that is silent on the network for a while, for drills |
//! | `listener`, `refusals`, `connection`, `tls`, `busy_poll` | sockets: the I/O, which decides nothing |
//! | `door` | when clients are let in |
//! | [`decisions`] | the replicated log that failover turns on |
//! | [`failover`] | who is the primary, and until when |
//! | `membership` | who is alive, and what each node tells of itself |
//! | [`peer`] | connections between nodes |
//! | `session` | one client's session as a state machine |
//! | `service` | what the sessions of a storage share: locks, publications, new ids, counters |
//! | `listing` | transactions as they are listed, for people and for programs |
//! | `server` | the storages of a server |
//! | `supervisor` | what whoever started the process is told |
//! | [`span`] | lengths of time as text |
//! | [`zeo_conf`] | the stock server's configuration file |

mod appetite;
mod busy_poll;
pub mod cli;
pub mod config;
mod connection;
mod control;
pub mod decisions;
mod door;
pub mod failover;
mod listener;
mod listing;
mod membership;
mod node;
mod opening;
pub mod peer;
mod process;
mod progress;
mod quiet;
mod refusals;
pub mod replication;
mod serve;
mod server;
mod service;
mod session;
pub mod span;
mod supervisor;
mod tls;
#[cfg(feature = "simulation")]
pub mod within;
#[doc(hidden)]
pub mod world;
pub mod zeo_conf;
