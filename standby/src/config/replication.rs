//! `[upstream]` and `[replication]`: what a node follows, and how.

use std::time::Duration;

use super::reader::Document;
use super::values;
use crate::replication::message::Recovery;

/// What a replica follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Addresses of the peer listeners of the nodes that it may follow, tried in turn.
    pub addresses: Vec<String>,
    /// How it gets what it cannot take up where it stopped.
    pub recovery: Recovery,
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
            Self { addresses, recovery }
        })
    }
}

/// What a primary does when too few replicas acknowledge in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAckTimeout {
    /// Waits on: the client is not answered.
    Wait,
    /// Answers the client all the same, and says so in the log and in the status.
    Continue,
}

/// How a node replicates.
#[derive(Clone, Debug, PartialEq)]
pub struct Replication {
    /// So many electable replicas must have a transaction before its client is answered.
    pub acks: u64,
    /// How long that may take.
    pub ack_timeout: Duration,
    /// What happens then.
    pub on_ack_timeout: OnAckTimeout,
    /// A replica packs when its upstream has packed.
    pub follow_pack: bool,
    /// A client of a replica waits at most so long for the replica to catch up with what it knows of its upstream.
    pub catch_up_limit: Duration,
}

impl Replication {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        document.section_or_empty("replication", |section| Self {
            acks: section.or("acks", values::count, 0),
            ack_timeout: section.or("ack_timeout", values::duration, Duration::from_secs(5)),
            on_ack_timeout: section.or(
                "on_ack_timeout",
                |value| match values::text(value)?.as_str() {
                    "wait" => Ok(OnAckTimeout::Wait),
                    "continue" => Ok(OnAckTimeout::Continue),
                    other => Err(format!("expected \"wait\" or \"continue\", not {other:?}")),
                },
                OnAckTimeout::Wait,
            ),
            follow_pack: section.or("follow_pack", values::flag, true),
            catch_up_limit: section.or("catch_up_limit", values::duration, Duration::from_secs(10)),
        })
    }
}
