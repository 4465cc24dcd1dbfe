//! The benchmarks' load on a server that runs already: for profiling it, and for comparing two builds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use zeo_proto::{Encoding, Oid};

use super::throughput::{
    OBJECTS_LOADED, RECORD_BYTES, commits_per_second, loads_per_second, on_one_thread, registered,
};
use crate::driver::LoadPlan;

/// Options of the load.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// The server, HOST:PORT; it must speak msgpack
    server: SocketAddr,
    /// What to do: commits create their objects, loads need those that commits made
    what: Work,
    /// Connections
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Requests in flight on each connection that loads
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// For so many seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The first object to load
    #[arg(long, default_value_t = 0)]
    first_oid: u64,
    /// Commits of different series are to different objects
    #[arg(long, default_value_t = 1)]
    series: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Work {
    /// Durable transactions of ten objects of 400 bytes
    Commits,
    /// Loads of ten thousand objects, one after the other
    Loads,
}

/// Drives the server and prints how many of them it did a second.
///
/// # Errors
/// The server is gone or refuses something.
pub fn run(options: &Options) -> Result<()> {
    let time = Duration::from_secs_f64(options.seconds);
    let rate = on_one_thread(async {
        match options.what {
            Work::Commits => commits_per_second(options.server, options.clients, options.series, time).await,
            Work::Loads => {
                let oids = (options.first_oid..options.first_oid + OBJECTS_LOADED).map(Oid::new);
                let plan = LoadPlan::new(Encoding::Msgpack, oids, RECORD_BYTES);
                let connections = registered(options.server, options.clients).await?;
                loads_per_second(connections, &plan, options.outstanding, time).await
            }
        }
    })?;
    println!("{rate:.0} a second");
    Ok(())
}
