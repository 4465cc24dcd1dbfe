//! What is in force at a node: what the cluster has decided, or else what the node's file says.

use std::time::Duration;

use tokio::sync::watch;

use super::peers::Copies;
use crate::config::NodeConfig;
use crate::failover::machine::OwnSettings;
use crate::failover::settings::{Setting, Settings};
use crate::failover::timing::Timing;
use crate::service::acks::{AckOptions, OnAckTimeout};

/// What acts wherever it is looked up.
#[derive(Clone)]
pub(super) struct Tuning {
    pub(super) copies: Copies,
    /// How long clients wait for a copy that is behind.
    pub(super) behind_limit: watch::Sender<Duration>,
}

impl Tuning {
    /// Puts into force what is to be.
    pub(super) fn apply(&self, config: &NodeConfig, decided: &Settings) {
        let file = &config.replication;
        let limit = decided.time(Setting::CatchUpLimit).unwrap_or(file.catch_up_limit);
        self.behind_limit.send_replace(limit);
        let follows = decided.flag(Setting::FollowPack).unwrap_or(file.follow_pack);
        self.copies.values().for_each(|copy| copy.set_follows_packs(follows));
    }
}

/// How acknowledgements are waited for, when so many are needed.
pub(super) fn acknowledgements(config: &NodeConfig, decided: &Settings, needed: usize) -> AckOptions {
    let file = config.replication.acks;
    let on_timeout = match decided.word(Setting::OnAckTimeout) {
        Some("wait") => OnAckTimeout::Wait,
        Some("continue") => OnAckTimeout::Continue,
        _ => file.on_timeout,
    };
    AckOptions { needed, timeout: decided.time(Setting::AckTimeout).unwrap_or(file.timeout), on_timeout }
}

/// What the machine goes by where nothing is decided.
pub(super) fn own_settings(config: &NodeConfig) -> OwnSettings {
    OwnSettings { timing: Timing::of_lease(config.cluster.lease), acks: config.replication.acks.needed }
}
