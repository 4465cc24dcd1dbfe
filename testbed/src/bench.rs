//! Benchmarks: Standby beside the stock server and beside what the machine itself can do, in one run.

mod ceiling;
pub mod drive;
mod memory;
mod table;
mod throughput;
pub mod zeo;
