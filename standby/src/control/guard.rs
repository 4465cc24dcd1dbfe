//! Lets callers in or refuses them, and writes of both: who asked for what, from where, and what became of it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tracing::{info, warn};

use super::access::{Access, Token};
use super::caller::Caller;
use super::refusal::{Refusal, shortened};
use crate::config::{Admin, Secret};
use crate::refusals::Refusals;
use crate::world::Instant;

/// Who stands before the control API.
#[derive(Debug)]
pub(super) struct Guard {
    access: Access,
    /// Of callers who were not let in.
    outside: Mutex<Refusals>,
    /// Of those who were.
    inside: Mutex<Refusals>,
}

impl Guard {
    pub(super) fn new(admin: &Admin) -> Self {
        let token = match &admin.token {
            Secret::Bytes(token) => Some(Token::new(token)),
            Secret::File(_) | Secret::None => None,
        };
        let access = Access {
            token,
            certificates: admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            open_metrics: admin.open_metrics,
            owner: rustix::process::geteuid().as_raw(),
        };
        Self { access, outside: Mutex::default(), inside: Mutex::default() }
    }
}

/// Everything that is asked comes through here.
pub(super) async fn pass(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let said = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let caller = match guard.access.judge(&caller, &path, said) {
        Ok(caller) => caller,
        Err(refusal) => {
            write_refusal(&guard.outside, &caller, &method, &path, &refusal);
            return refusal.into_response();
        }
    };
    let began = Instant::now();
    request.extensions_mut().insert(ConnectInfo(caller.clone()));
    let response = next.run(request).await;
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        write_refusal(&guard.inside, &caller, &method, &path, refusal);
    } else if method == Method::POST && response.status().is_success() {
        let from = from(&caller);
        info!(%caller, from, path, took = ?began.elapsed(), "what an operator asked for was done");
    }
    response
}

fn write_refusal(
    refusals: &Mutex<Refusals>,
    caller: &Caller,
    method: &Method,
    path: &str,
    refusal: &Refusal,
) {
    let told = refusals.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now());
    let Some(refused) = told else { return };
    let (from, path, Refusal(status, reason)) = (from(caller), shortened(path), refusal);
    warn!(%caller, from, %method, path, status = status.as_u16(), %reason, refused, "refused a request to the control API");
}

/// Where it comes from, for the log.
pub(super) fn from(caller: &Caller) -> String {
    caller.from.as_ref().map_or("the local socket".to_owned(), SocketAddr::to_string)
}
