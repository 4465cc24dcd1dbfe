//! Standby: a highly available storage server for ZODB.
//!
//! | room | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | `serve` | one server, from start to stop |
//! | `listener`, `connection`, `tls` | sockets: the I/O, which decides nothing |
//! | [`peer`] | connections between nodes |
//! | `session` | one client's session as a state machine |
//! | `service` | what the sessions of a storage share: locks, publications, new ids, counters |
//! | `server` | the storages of a server |
//! | [`zeo_conf`] | the stock server's configuration file |

mod busy_poll;
pub mod cli;
pub mod config;
mod connection;
mod listener;
pub mod peer;
mod progress;
pub mod replication;
mod serve;
mod server;
mod service;
mod session;
mod tls;
pub mod zeo_conf;
