//! The ZEO 5 protocol as data.
