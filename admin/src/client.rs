//! Asking a node.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use standby_control::{
    ChangeSettings, Done, Failure, HistoryAnswer, LostAnswer, NodeStatus, PacksAnswer, Reloaded,
    SettingsAnswer, SettingsChanged, WantedFile,
};

use crate::endpoint::{Endpoint, Proof};

/// No answer is longer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take for the next piece of a long answer.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);

/// A node's control API.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// What `Authorization` says; never shown.
    authorization: Option<HeaderValue>,
}

impl Client {
    /// The one at this socket, as it is written in configurations: `unix:PATH`, or just the path.
    pub fn new(socket: &str) -> Self {
        let path = Path::new(socket.strip_prefix("unix:").unwrap_or(socket));
        Self { endpoint: Endpoint::Unix(path.to_owned()), authorization: None }
    }

    /// The one at this address: `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// The address is none, or a file cannot be read.
    pub fn open(address: &str, proof: &Proof) -> Result<Self> {
        let authorization = proof.token_file.as_deref().map(authorization).transpose()?;
        Ok(Self { endpoint: Endpoint::parse(address, proof)?, authorization })
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer as it should.
    pub async fn status(&self) -> Result<NodeStatus> {
        self.get("/v1/status").await
    }

    /// What has happened to the cluster.
    ///
    /// # Errors
    /// It cannot be reached, or belongs to no cluster that decides.
    pub async fn history(&self) -> Result<HistoryAnswer> {
        self.get("/v1/history").await
    }

    /// Has something changed, which may take so much longer than an answer. What was done.
    ///
    /// # Errors
    /// It cannot be reached, or refuses, and says why.
    pub async fn change(&self, path: &str, wanted: &impl Serialize, takes: Duration) -> Result<Done> {
        self.post(path, wanted, takes).await
    }

    /// What is set for the whole cluster.
    ///
    /// # Errors
    /// It cannot be reached, or belongs to no cluster that decides.
    pub async fn settings(&self) -> Result<SettingsAnswer> {
        self.get("/v1/settings").await
    }

    /// Changes settings of the whole cluster, all of these or none. What has changed.
    ///
    /// # Errors
    /// It cannot be reached, or refuses, and says why.
    pub async fn change_settings(&self, wanted: &ChangeSettings) -> Result<SettingsChanged> {
        self.post("/v1/settings", wanted, Duration::ZERO).await
    }

    /// How packs are at the primary.
    ///
    /// # Errors
    /// It cannot be reached, or the primary cannot.
    pub async fn packs(&self) -> Result<PacksAnswer> {
        self.get("/v1/packs").await
    }

    /// Has the node read its own file anew. What has changed.
    ///
    /// # Errors
    /// It cannot be reached, or the file has mistakes: all of them.
    pub async fn reload(&self) -> Result<Reloaded> {
        self.post("/v1/reload", &(), Duration::ZERO).await
    }

    /// The files with lost transactions that are known of.
    ///
    /// # Errors
    /// It cannot be reached, or cannot look.
    pub async fn lost(&self) -> Result<LostAnswer> {
        self.get("/v1/lost").await
    }

    /// Has the node list what is in one of those that it has: passes on a piece of text after the other, in which each
    /// transaction has a line of JSON ([`ListedTransaction`](standby_control::ListedTransaction)).
    ///
    /// # Errors
    /// It cannot be reached, or has no such file; or `piece` fails.
    pub async fn show_lost(&self, wanted: &WantedFile, piece: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.read("/v1/lost/show", wanted, piece).await
    }

    /// Has the node send one of those that it has: passes on a piece after the other.
    ///
    /// # Errors
    /// As those of [`show_lost`](Self::show_lost).
    pub async fn export_lost(
        &self,
        wanted: &WantedFile,
        piece: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.read("/v1/lost/export", wanted, piece).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        wanted: &impl Serialize,
        takes: Duration,
    ) -> Result<T> {
        self.within(PATIENCE + takes, self.ask(Method::POST, path, serde_json::to_vec(wanted)?)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.within(PATIENCE, self.ask(Method::GET, path, Vec::new())).await
    }

    async fn within<T>(&self, limit: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = tokio::time::timeout(limit, answer).await;
        answer.with_context(|| format!("{} did not answer in {limit:?}", self.endpoint))?
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T> {
        let answer = self.send(method, path, body).await?;
        let body = Limited::new(answer, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{}: {error}", self.endpoint))?.to_bytes();
        serde_json::from_slice(&body).with_context(|| format!("{} answers something else", self.endpoint))
    }

    /// Has the node send a file, or what it says of it, and passes that on piece by piece.
    async fn read(
        &self,
        path: &str,
        wanted: &impl Serialize,
        mut piece: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let shown = &self.endpoint;
        let body = serde_json::to_vec(wanted)?;
        let mut answer = self.within(PATIENCE, self.send(Method::POST, path, body)).await?;
        while let Some(frame) = self.within(PIECE_PATIENCE, async { Ok(answer.frame().await) }).await? {
            let frame = frame.with_context(|| format!("{shown} broke off: its log says why"))?;
            if let Ok(data) = frame.into_data() {
                piece(&data)?;
            }
        }
        Ok(())
    }

    /// The answer, when it is no refusal.
    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Incoming> {
        let shown = &self.endpoint;
        let stream = self.endpoint.reach().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, "standby");
        let mut request =
            request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = sender.send_request(request).await.with_context(|| format!("{shown} broke off"))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{shown}: {error}"))?.to_bytes();
        match serde_json::from_slice(&body) {
            Ok(Failure { error }) if status == StatusCode::UNAUTHORIZED => {
                let hint = match self.authorization {
                    None => " (--token-file, or --cert)",
                    Some(_) => "",
                };
                bail!("{shown} does not let you in: {error}{hint}")
            }
            Ok(Failure { error }) => bail!("refused: {error}"),
            Err(_) => bail!("the node refused: {status}: {}", String::from_utf8_lossy(&body).trim()),
        }
    }
}

/// Of the token in a file.
fn authorization(path: &Path) -> Result<HeaderValue> {
    let token = std::fs::read(path).with_context(|| format!("cannot read the token {}", path.display()))?;
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.trim_ascii()].concat())
        .with_context(|| format!("the token in {} has bytes that cannot be sent", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}
