//! Every metric that there is. `docs/operations.md` lists them with their labels, and a test compares.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, while the process runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Name, kind and help, without a full stop at its end.
pub(super) const FAMILIES: &[(&str, Kind, &str)] = &[
    ("standby_build_info", Kind::Gauge, "The version of the program, as a label of 1"),
    ("standby_node_info", Kind::Gauge, "The node's name, group and cluster, as labels of 1"),
    ("standby_start_time_seconds", Kind::Gauge, "When the node was started, in seconds since 1970"),
    ("standby_role", Kind::Gauge, "1 for what the node does, 0 for everything else"),
    ("standby_epoch", Kind::Gauge, "The number of the last primary's reign that the node knows of"),
    ("standby_lease_held", Kind::Gauge, "1 while the node may commit"),
    ("standby_serving", Kind::Gauge, "1 while such clients are served"),
    ("standby_parked_clients", Kind::Gauge, "Clients that wait for their greeting"),
    ("standby_members", Kind::Gauge, "Nodes of the cluster that are seen so"),
    ("standby_member_flapping", Kind::Gauge, "1 while a node comes and goes"),
    ("standby_member_banned", Kind::Gauge, "1 while a node is kept from being promoted by itself"),
    (
        "standby_failover_possible",
        Kind::Gauge,
        "1 while another node would take the primary's place by itself",
    ),
    ("standby_failover_paused", Kind::Gauge, "1 while automatic failover is turned off"),
    ("standby_clock_ahead_seconds", Kind::Gauge, "How far the node's clock is ahead of the others'"),
    ("standby_clock_off", Kind::Gauge, "1 while that is too far: the node is not promoted"),
    ("standby_history_promotions", Kind::Gauge, "Promotions that the cluster's history tells of"),
    (
        "standby_history_lost_transactions",
        Kind::Gauge,
        "Lost transactions that the cluster's history tells of",
    ),
    ("standby_storage_serving", Kind::Gauge, "1 where the copy is whole, and served"),
    (
        "standby_storage_failed",
        Kind::Gauge,
        "1 where nothing is committed until a restart, since the disk failed",
    ),
    ("standby_storage_epoch", Kind::Gauge, "The number of the reign that wrote the end of the copy"),
    (
        "standby_storage_last_commit_time_seconds",
        Kind::Gauge,
        "The last transaction's time, in seconds since 1970",
    ),
    ("standby_storage_log_bytes", Kind::Gauge, "The length of the log"),
    ("standby_storage_objects", Kind::Gauge, "Objects in the storage"),
    ("standby_storage_clients", Kind::Gauge, "Registered clients"),
    ("standby_storage_loads_total", Kind::Counter, "Objects that clients asked for"),
    ("standby_storage_stores_total", Kind::Counter, "Objects that clients stored"),
    ("standby_storage_commits_total", Kind::Counter, "Transactions of clients that were committed"),
    ("standby_storage_aborts_total", Kind::Counter, "Transactions of clients that were aborted"),
    ("standby_storage_conflicts_total", Kind::Counter, "Votes of clients that ended in a conflict error"),
    (
        "standby_storage_conflicts_returned_total",
        Kind::Counter,
        "Votes of clients that were given conflicts to resolve",
    ),
    (
        "standby_storage_open_transactions",
        Kind::Gauge,
        "Transactions of clients between their begin and their end",
    ),
    ("standby_storage_waiting_votes", Kind::Gauge, "Votes of clients that wait for locks"),
    ("standby_storage_packing", Kind::Gauge, "1 while the storage is packed"),
    ("standby_upstream_connected", Kind::Gauge, "1 while the copy follows its upstream"),
    ("standby_upstream_distance", Kind::Gauge, "How many upstreams lie between the node and the primary"),
    ("standby_upstream_heard_age_seconds", Kind::Gauge, "How long ago the upstream said how far it is"),
    (
        "standby_upstream_lag_seconds",
        Kind::Gauge,
        "How much of the upstream's history is known to be missing",
    ),
    ("standby_follower_flowing", Kind::Gauge, "1 while transactions flow to the follower"),
    ("standby_follower_lag_transactions", Kind::Gauge, "Transactions that the follower lacks"),
    ("standby_follower_lag_bytes", Kind::Gauge, "The length of what the follower lacks, in the log"),
    (
        "standby_follower_lag_seconds",
        Kind::Gauge,
        "How long ago the first transaction was committed that the follower lacks",
    ),
    (
        "standby_acks_needed",
        Kind::Gauge,
        "Replicas that must have a transaction before its client is answered",
    ),
    ("standby_acks_present", Kind::Gauge, "Replicas that are there to acknowledge"),
    ("standby_acks_waiting", Kind::Gauge, "Transactions whose clients wait for acknowledgements"),
    ("standby_acks_waiting_seconds", Kind::Gauge, "How long the longest of them has waited"),
    ("standby_acks_fell_back", Kind::Gauge, "1 while clients are answered without acknowledgements"),
];
