//! What is not done, and bodies that are not understood.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde::de::DeserializeOwned;
use standby_control::Failure;

/// How long a request's body may take to come.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    pub(super) fn conflict(reason: impl ToString) -> Self {
        Self(StatusCode::CONFLICT, reason.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(Failure { error: self.1.clone() })).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        // For whoever writes of it.
        response.extensions_mut().insert(self);
        response
    }
}

/// A body that is refused with a text that says what is wrong with it.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match tokio::time::timeout(BODY_LIMIT, Json::from_request(request, state)).await {
            Ok(Ok(Json(body))) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(Refusal(rejection.status(), rejection.body_text())),
            Err(_) => {
                Err(Refusal(StatusCode::REQUEST_TIMEOUT, format!("the body did not come in {BODY_LIMIT:?}")))
            }
        }
    }
}

pub(super) async fn unknown_path(uri: Uri) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("there is nothing at {:?}", shortened(uri.path())))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let reason = format!("{} does not take {method}", shortened(uri.path()));
    Refusal(StatusCode::METHOD_NOT_ALLOWED, reason)
}

/// A path may be long, and is anybody's.
pub(super) fn shortened(path: &str) -> &str {
    &path[..path.floor_char_boundary(100)]
}
