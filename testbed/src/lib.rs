//! Clusters on one machine: starts real servers and stock clients, drives load, breaks things, and looks at what
//! is left. The benchmarks (`standby-testbed bench`) and the process tests (`tests/`) are built on this.

pub mod bench;
pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod datafile;
pub mod decided;
pub mod demo;
pub mod disk;
pub mod doors;
pub mod driver;
pub mod haproxy;
pub mod http;
pub mod link;
pub mod log;
pub mod losses;
pub mod namespace;
pub mod network;
pub mod place;
pub mod poll;
pub mod preload;
pub mod rude;
pub mod scenario;
pub mod script;
pub mod seed;
pub mod server;
pub mod stamps;
pub mod swarm;
pub mod transcript;
pub mod workload;
