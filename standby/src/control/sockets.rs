//! Where the control API is reached: the local socket, and TCP with or without TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::caller::{Caller, Identity};
use crate::config::NodeConfig;
use crate::listener::{ListenAddress, bind_tcp, prepare_tcp, remove_dead_socket};
use crate::refusals::Refusals;
use crate::tls::{self, ClientCertificate};
use crate::world::Instant;
use crate::world::net::{TcpListener, TcpStream};

/// Connections at one time, on each socket: those on one do not keep the operator from another.
const CONNECTIONS_MAX: usize = 256;
/// How long a TLS handshake may take.
const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long a request's head may take to come, and a connection may be idle.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Of a certificate's subject, so much is kept, in bytes.
const SUBJECT_BYTES_MAX: usize = 200;
/// How long answers that are on their way may take when the node stops.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// A socket that listens for operators.
pub(crate) struct Socket(Kind);

enum Kind {
    Unix(UnixListener),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// Listens where the node is told to.
pub(crate) async fn bind(config: &NodeConfig) -> Result<Vec<Socket>> {
    let tls = config.admin.tls.as_ref();
    let tls = tls.map(|options| tls::acceptor(options, ClientCertificate::Welcome)).transpose()?;
    let mut sockets = Vec::new();
    for address in &config.listen.admin {
        let bound = match address {
            ListenAddress::Unix(path) => bind_unix(path).map(Kind::Unix),
            ListenAddress::Tcp(host_and_port) => {
                bind_tcp(host_and_port).await.map(|socket| Kind::Tcp(socket, tls.clone()))
            }
        };
        sockets.push(Socket(bound.with_context(|| format!("cannot listen on {address}"))?));
    }
    Ok(sockets)
}

/// For the owner of this process alone.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    remove_dead_socket(path)?;
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

impl Socket {
    /// Where it is reached over TCP.
    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Unix(_) => None,
            Kind::Tcp(socket, _) => socket.local_addr().ok(),
        }
    }

    /// Answers, until the node stops.
    pub(super) async fn serve(self, router: Router, mut stopped: watch::Receiver<bool>) {
        if let Some(address) = self.tcp_address() {
            info!(listener = "admin", %address, "serving");
        }
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let refusals = Arc::new(Mutex::new(Refusals::default()));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.accept() => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    warn!(%error, "an operator's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                write_refusal(&refusals, "there are as many as the limit allows");
                continue;
            };
            let (router, stopped, refusals) = (router.clone(), stopped.clone(), refusals.clone());
            connections.spawn(async move {
                if let Err(reason) = stream.serve(router, stopped).await {
                    write_refusal(&refusals, &reason);
                }
                drop(place);
            });
        }
        drop(self.0);
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_LIMIT, ended).await;
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.0 {
            Kind::Unix(socket) => socket.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            Kind::Tcp(socket, tls) => {
                socket.accept().await.map(|(stream, from)| Stream::Tcp(stream, from, tls.clone()))
            }
        }
    }
}

fn write_refusal(refusals: &Mutex<Refusals>, reason: &str) {
    let told = refusals.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now());
    if let Some(refused) = told {
        warn!(refused, reason, "refused a connection to the control API");
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
}

impl Stream {
    /// Answers on it until it ends; or says why not.
    async fn serve(self, router: Router, stopped: watch::Receiver<bool>) -> Result<(), String> {
        let (stream, from, tls) = match self {
            Self::Unix(stream) => {
                let user = stream.peer_cred().map(|credentials| Identity::User(credentials.uid()));
                let caller = Caller { from: None, identity: user.unwrap_or(Identity::Unknown) };
                converse(stream, caller, router, stopped).await;
                return Ok(());
            }
            Self::Tcp(stream, from, tls) => (stream, from, tls),
        };
        prepare_tcp(&stream);
        let from_somebody = Caller { from: Some(from), identity: Identity::Unknown };
        let Some(tls) = tls else {
            converse(stream, from_somebody, router, stopped).await;
            return Ok(());
        };
        match tokio::time::timeout(TLS_HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let caller = Caller { identity: certified(&stream), ..from_somebody };
                converse(stream, caller, router, stopped).await;
                Ok(())
            }
            // Load balancers that only knock come every second.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(Err(error)) => Err(format!("from {from}: the TLS handshake failed: {error}")),
            Err(_) => Err(format!("from {from}: the TLS handshake took too long")),
        }
    }
}

/// Whose certificate it is, if one was shown; then it is trusted.
fn certified(stream: &TlsStream<TcpStream>) -> Identity {
    let Some([own, ..]) = stream.get_ref().1.peer_certificates() else { return Identity::Unknown };
    let mut subject = tls::subject(own).unwrap_or_else(|| "without a subject".to_owned());
    subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES_MAX));
    Identity::Certificate(subject)
}

async fn converse<S>(stream: S, caller: Caller, router: Router, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(caller.clone()));
        let answer = router.call(request);
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an operator's connection ended");
    }
}
