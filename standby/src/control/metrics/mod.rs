//! `/metrics`, for Prometheus.

mod families;
mod measured;
mod sheet;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use self::measured::Measured;
use super::access::METRICS;
use super::refusal::Refusal;
use super::{Subject, look};

/// The text format that every Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router() -> Router<Arc<Subject>> {
    Router::new().route(METRICS, get(metrics))
}

async fn metrics(State(subject): State<Arc<Subject>>) -> Result<impl IntoResponse, Refusal> {
    let measured = look(subject, Measured::of).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], measured.sheet().text()))
}

#[cfg(test)]
#[path = "metrics_test.rs"]
mod tests;
