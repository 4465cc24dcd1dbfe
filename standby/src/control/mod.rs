//! The control API: what an operator asks a node, over HTTP on its `admin` listener.

mod access;
mod caller;
mod guard;
mod health;
mod history;
mod lag;
mod lost;
mod metrics;
mod operator;
mod pieces;
mod refusal;
mod settings;
mod sockets;
mod status;
mod verbs;
mod view;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Json;
use axum::routing::{get, post};
use replica::ReadError;
use standby_control::NodeStatus;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use self::guard::Guard;
pub use self::lag::keep_lag_log;
use self::refusal::Refusal;
pub(crate) use self::sockets::{Socket, bind};
use crate::config::NodeConfig;
use crate::decisions::raft::Decisions;
use crate::failover::lease::LeaseView;
use crate::node::{Copies, Doors, Packs, Part, ReloadOrders, Surroundings};
use crate::quiet::Quiet;
use crate::world;

/// No request is longer, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// So many threads that wait for the disk are taken from clients at one time, however many ask.
const LOOKS_MAX: usize = 2;

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
    /// Until when it may commit; `None`: nobody else would.
    pub lease: Option<LeaseView>,
    /// Where clients come in.
    pub doors: Doors,
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

/// Answers on these sockets, until the node stops.
pub async fn serve(sockets: Vec<Socket>, subject: Subject, stopped: watch::Receiver<bool>) {
    let guard = Arc::new(Guard::new(&subject.config.borrow().admin));
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
        .route("/v1/lost", get(lost::list))
        .route("/v1/lost/show", post(lost::show))
        .route("/v1/lost/export", post(lost::export))
        .route("/v1/reload", post(settings::reload))
        .route("/v1/settings", get(settings::list).post(settings::change))
        .merge(health::router())
        .merge(metrics::router())
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(guard, guard::pass))
        .with_state(Arc::new(subject));
    let mut serving = JoinSet::new();
    for socket in sockets {
        serving.spawn(socket.serve(router.clone(), stopped.clone()));
    }
    while serving.join_next().await.is_some() {}
}

async fn status(State(subject): State<Arc<Subject>>) -> Result<Json<NodeStatus>, Refusal> {
    look(subject, status::of_node).await.map(Json)
}

/// Looks at what may wait for the disk: what followers lack is counted in the log.
async fn look<T: Send + 'static>(
    subject: Arc<Subject>,
    at: fn(&Subject) -> Result<T, ReadError>,
) -> Result<T, Refusal> {
    static LOOKS: Semaphore = Semaphore::const_new(LOOKS_MAX);
    let look = LOOKS.acquire().await.expect("it is never closed");
    let seen = world::spawn_blocking(move || at(&subject)).await.expect("no panic");
    drop(look);
    seen.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
