//! `[upstream]` and `[replication]`: what a node follows, and how.

use std::time::Duration;

use toml::de::DeValue;

use super::reader::Document;
use super::values;
use crate::failover::settings::ACKS_MAX;
use crate::replication::message::Recovery;
use crate::replication::run::Compression;
use crate::service::acks::{AckOptions, OnAckTimeout};

/// What a replica follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Addresses of the peer listeners of the nodes that it may follow, tried in turn.
    pub addresses: Vec<String>,
    /// How it gets what it cannot take up where it stopped.
    pub recovery: Recovery,
    /// How what comes from them is compressed on its way.
    pub compression: Compression,
}

impl Upstream {
    pub(super) fn read(document: &mut Document<'_>) -> Option<Self> {
        document.section("upstream", |section| {
            let addresses = section.required("addresses", values::addresses).unwrap_or_default();
            let recovery = section.or(
                "recovery",
                |value| match values::text(value)?.as_str() {
                    "full" => Ok(Recovery::Full),
                    "fast" => Ok(Recovery::Fast),
                    other => Err(format!("expected \"full\" or \"fast\", not {other:?}")),
                },
                Recovery::Full,
            );
            let compression = section.or("compression", compression, Compression::None);
            Self { addresses, recovery, compression }
        })
    }
}

fn compression(value: &DeValue<'_>) -> Result<Compression, String> {
    match values::text(value)?.as_str() {
        "none" => Ok(Compression::None),
        "zstd" => Ok(Compression::Zstd),
        other => Err(format!("expected \"none\" or \"zstd\", not {other:?}")),
    }
}

/// How a node replicates.
#[derive(Clone, Debug, PartialEq)]
pub struct Replication {
    /// What electable replicas of its group must have before a client is answered.
    pub acks: AckOptions,
    /// A replica packs when its upstream has packed.
    pub follow_pack: bool,
    /// A client of a replica waits at most so long for the replica to catch up with what it knows of its upstream.
    pub catch_up_limit: Duration,
    /// How what a node whose upstream is decided follows is compressed on its way; `None`: it does not say.
    pub compression: Option<Compression>,
}

impl Replication {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        document.section_or_empty("replication", |section| {
            let needed = section.or(
                "acks",
                |value| match values::count(value)? {
                    count @ 0..=ACKS_MAX => Ok(count as usize),
                    _ => Err(format!("expected a whole number up to {ACKS_MAX}")),
                },
                0,
            );
            let timeout = section.or("ack_timeout", values::duration, Duration::from_secs(5));
            let on_timeout = section.or(
                "on_ack_timeout",
                |value| match values::text(value)?.as_str() {
                    "wait" => Ok(OnAckTimeout::Wait),
                    "continue" => Ok(OnAckTimeout::Continue),
                    other => Err(format!("expected \"wait\" or \"continue\", not {other:?}")),
                },
                OnAckTimeout::Wait,
            );
            Self {
                acks: AckOptions { needed, timeout, on_timeout },
                follow_pack: section.or("follow_pack", values::flag, true),
                catch_up_limit: section.or("catch_up_limit", values::duration, Duration::from_secs(10)),
                compression: section.optional("compression", compression),
            }
        })
    }
}
