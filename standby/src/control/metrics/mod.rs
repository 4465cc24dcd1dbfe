//! `/metrics`, for Prometheus.

mod families;
mod measured;
mod sheet;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::measured::Measured;
use super::Subject;
use super::access::METRICS;
use super::refusal::Refusal;

/// The text format that every Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router() -> Router<Arc<Subject>> {
    Router::new().route(METRICS, get(metrics))
}

async fn metrics(State(subject): State<Arc<Subject>>) -> Response {
    // Counting what followers lack may wait for the disk.
    let measured = tokio::task::spawn_blocking(move || Measured::of(&subject)).await.expect("no panic");
    match measured {
        Ok(measured) => ([(header::CONTENT_TYPE, TEXT)], measured.sheet().text()).into_response(),
        Err(error) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
#[path = "metrics_test.rs"]
mod tests;
