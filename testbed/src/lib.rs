//! Clusters on one machine: starts real servers and stock clients, drives load, breaks things, and looks at what
//! is left. The benchmarks (`standby-testbed bench`) and the process tests (`tests/`) are built on this.

pub mod bench;
pub mod certificates;
pub mod cluster;
pub mod datafile;
pub mod decided;
pub mod disk;
pub mod doors;
pub mod driver;
pub mod haproxy;
pub mod http;
pub mod link;
pub mod namespace;
pub mod network;
pub mod place;
pub mod poll;
pub mod rude;
pub mod script;
pub mod seed;
pub mod server;
pub mod swarm;
pub mod workload;
