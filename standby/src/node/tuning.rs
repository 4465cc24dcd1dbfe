//! What is in force at a node: what the cluster has decided, or else what the node's file says, which may be read anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::peers::Copies;
use crate::config::NodeConfig;
use crate::failover::machine::OwnSettings;
use crate::failover::settings::{Setting, Settings};
use crate::failover::timing::Timing;
use crate::server::Served;
use crate::service::acks::{AckOptions, OnAckTimeout};
use crate::tls::{self, ClientCertificate};

/// What acts wherever it is looked up. Clones are the same.
#[derive(Clone)]
pub(super) struct Tuning {
    pub(super) served: Arc<Served>,
    pub(super) copies: Copies,
    /// How long clients wait for a copy that is behind.
    pub(super) behind_limit: watch::Sender<Duration>,
    /// How many clients may wait for their greeting.
    pub(super) parked_max: watch::Sender<usize>,
    /// How clients that come now are spoken to.
    pub(super) tls: watch::Sender<Option<TlsAcceptor>>,
}

impl Tuning {
    pub(super) fn new(served: &Arc<Served>, copies: &Copies, tls: Option<TlsAcceptor>) -> Self {
        Self {
            served: served.clone(),
            copies: copies.clone(),
            behind_limit: watch::Sender::new(Duration::MAX),
            parked_max: watch::Sender::new(0),
            tls: watch::Sender::new(tls),
        }
    }

    /// Puts into force what is to be.
    pub(super) fn apply(&self, config: &NodeConfig, decided: &Settings) {
        let file = &config.replication;
        let limit = decided.time(Setting::CatchUpLimit).unwrap_or(file.catch_up_limit);
        self.behind_limit.send_replace(limit);
        let follows = decided.flag(Setting::FollowPack).unwrap_or(file.follow_pack);
        self.copies.values().for_each(|copy| copy.set_follows_packs(follows));
        self.parked_max.send_replace(config.limits.parked_max);
        self.served.set_limits(config.limits.clients);
    }
}

/// What speaks TLS with clients, if the file says so. Reads certificates.
pub(super) fn acceptor(config: &NodeConfig) -> Result<Option<TlsAcceptor>> {
    config.tls.as_ref().map(|options| tls::acceptor(options, ClientCertificate::Required)).transpose()
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

/// Sees to it that the clients of a primary that no cluster decides wait for as many replicas as its file says, until the task is
/// dropped.
pub(super) async fn keep_acknowledgements(mut file: watch::Receiver<Arc<NodeConfig>>, copies: Copies) {
    loop {
        let acks = file.borrow_and_update().replication.acks;
        let mut watching = JoinSet::new();
        for copy in copies.values() {
            if copy.service().change_acknowledgements(acks, BTreeSet::new()) {
                copy.followers().acknowledge_all(copy.service());
            }
            if acks.needed > 0 {
                watching.spawn(copy.service().clone().watch_acknowledgements(acks));
            }
        }
        while file.changed().await.is_ok() && file.borrow().replication.acks == acks {}
    }
}
