//! The control API: what an operator asks a node, over HTTP on its `admin` listener.

mod caller;
mod history;
mod lag;
mod operator;
mod settings;
mod status;
mod verbs;
mod view;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tracing::warn;

use self::caller::Caller;
pub use self::lag::keep_lag_log;
use crate::config::NodeConfig;
use crate::decisions::raft::Decisions;
use crate::listener::remove_dead_socket;
use crate::node::{Copies, Packs, Part, ReloadOrders, Surroundings};
use crate::quiet::Quiet;

/// No request is longer, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What the control API tells about.
pub struct Subject {
    /// What the node's file says, as it may be read anew.
    pub config: watch::Receiver<Arc<NodeConfig>>,
    /// Its copies.
    pub copies: Copies,
    /// Since when it runs.
    pub started: SystemTime,
    /// What it does now.
    pub part: watch::Receiver<Part>,
    /// The cluster that decides what it does, where one does.
    pub decisions: Option<Decisions>,
    /// What it knows of its cluster, where that decides.
    pub surroundings: Option<Surroundings>,
    /// Whether it is silent on the network.
    pub quiet: Quiet,
    /// The packs that were asked for.
    pub packs: Packs,
    /// Has its file read anew.
    pub reload: ReloadOrders,
}

/// Listens at a path, for the owner of this process alone.
pub fn bind(path: &Path) -> Result<UnixListener> {
    let failed = || format!("cannot listen on unix:{}", path.display());
    remove_dead_socket(path).with_context(failed)?;
    let socket = UnixListener::bind(path).with_context(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(failed)?;
    Ok(socket)
}

/// Answers, until the task is dropped.
pub async fn serve(socket: UnixListener, subject: Subject) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/history", get(operator::history))
        .route("/v1/switchover", post(operator::switchover))
        .route("/v1/promote", post(operator::promote))
        .route("/v1/pause", post(operator::pause))
        .route("/v1/ban", post(operator::ban))
        .route("/v1/forget", post(operator::forget))
        .route("/v1/disable", post(verbs::disable))
        .route("/v1/quiet", post(verbs::quiet))
        .route("/v1/pack", post(verbs::pack))
        .route("/v1/packs", get(verbs::packs))
        .route("/v1/reload", post(settings::reload))
        .route("/v1/settings", get(settings::list).post(settings::change))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(subject));
    let service = router.into_make_service_with_connect_info::<Caller>();
    if let Err(error) = axum::serve(socket, service).await {
        warn!(%error, "the control API ended");
    }
}

async fn status(State(subject): State<Arc<Subject>>) -> Response {
    // Counting what followers lack may wait for the disk.
    let told = tokio::task::spawn_blocking(move || status::of_node(&subject)).await.expect("no panic");
    match told {
        Ok(status) => Json(status).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
