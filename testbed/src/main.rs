//! Clusters on one machine.

fn main() {}
