//! One durable copy of a ZODB storage on one disk.
