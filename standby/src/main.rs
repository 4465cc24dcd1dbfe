//! The Standby server.

fn main() {}
