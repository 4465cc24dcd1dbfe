//! Where a node's control API is, and how the operator proves who they are.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// How long it may take to reach a node.
const REACH: Duration = Duration::from_secs(5);

/// What a node over TCP asks of its operator. Files are in PEM form.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// Whom to trust with `https`.
    pub ca: Option<PathBuf>,
    /// The operator's own certificate.
    pub certificate: Option<PathBuf>,
    /// Its key; `None`: in the certificate's file.
    pub key: Option<PathBuf>,
}

/// Where a node's control API is.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp(Remote),
}

/// One that is reached over TCP.
#[derive(Clone)]
pub(crate) struct Remote {
    address: String,
    /// With `https`: how, and who it must be.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(Remote { address, tls: None }) => write!(f, "http://{address}"),
            Self::Tcp(Remote { address, tls: Some(_) }) => write!(f, "https://{address}"),
        }
    }
}

/// A connection on which HTTP is spoken.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Endpoint {
    /// Of an address as it is given to the tool: `unix:PATH` or just the path, `http://HOST:PORT`, `https://HOST:PORT`.
    pub(crate) fn parse(address: &str, proof: &Proof) -> Result<Self> {
        let (with_tls, rest) = match (address.strip_prefix("http://"), address.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => {
                return Ok(Self::Unix(
                    Path::new(address.strip_prefix("unix:").unwrap_or(address)).to_owned(),
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = || format!("expected http://HOST:PORT, https://HOST:PORT or unix:PATH, not {address:?}");
        let (host, port) = rest.rsplit_once(':').with_context(wrong)?;
        ensure!(!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0), wrong());
        if !with_tls {
            ensure!(proof.certificate.is_none(), "a certificate can be shown with https:// only");
            return Ok(Self::Tcp(Remote { address: rest.to_owned(), tls: None }));
        }
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| anyhow!("{host:?}: {error}"))?;
        Ok(Self::Tcp(Remote { address: rest.to_owned(), tls: Some((tls_config(proof)?, name)) }))
    }

    /// Connects to it.
    pub(crate) async fn reach(&self) -> Result<Box<dyn Stream>> {
        match self {
            Self::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    bail!("{self} is for the user that runs the node, and root")
                }
                Err(error) => {
                    bail!("no node answers at {self} ({error}): is it running, with `admin` in [listen]?")
                }
            },
            Self::Tcp(remote) => {
                let reached = tokio::time::timeout(REACH, remote.reach(self)).await;
                reached.with_context(|| format!("{self} cannot be reached: no answer in {REACH:?}"))?
            }
        }
    }
}

impl Remote {
    async fn reach(&self, shown: &Endpoint) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.with_context(|| format!("{shown} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else { return Ok(Box::new(stream)) };
        match TlsConnector::from(config.clone()).connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(anyhow!(error).context(format!("no TLS with {shown}")))
            }
            Err(error) => {
                Err(anyhow!(error)
                    .context(format!("no TLS with {shown}: has it a `certificate` in [admin]?")))
            }
        }
    }
}

fn tls_config(proof: &Proof) -> Result<Arc<ClientConfig>> {
    let ca = proof.ca.as_ref().context("https:// needs --ca: whom to trust")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).with_context(|| format!("a certificate in {}", ca.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots);
    let Some(own) = &proof.certificate else { return Ok(Arc::new(config.with_no_client_auth())) };
    let key_path = proof.key.as_ref().unwrap_or(own);
    let key = PrivateKeyDer::from_pem_file(key_path).with_context(|| {
        format!("{} holds no private key in PEM form, or an encrypted one", key_path.display())
    })?;
    let config = config.with_client_auth_cert(certificates(own)?, key).with_context(|| {
        format!("the key {} does not go with the certificate {}", key_path.display(), own.display())
    })?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.with_context(|| format!("cannot read certificates from {}", path.display()))?;
    ensure!(!certificates.is_empty(), "{} holds no certificate", path.display());
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str, proof: &Proof) -> String {
        Endpoint::parse(address, proof)
            .map_or_else(|error| error.to_string(), |endpoint| endpoint.to_string())
    }

    #[test]
    fn an_address_is_a_socket_or_a_url() {
        let nothing = Proof::default();
        assert_eq!(shown("/run/a", &nothing), "unix:/run/a");
        assert_eq!(shown("unix:/run/a", &nothing), "unix:/run/a");
        assert_eq!(shown("http://[::1]:8300/", &nothing), "http://[::1]:8300");
        assert_eq!(shown("https://a:8300", &nothing), "https:// needs --ca: whom to trust");
        let url = "expected http://HOST:PORT, https://HOST:PORT or unix:PATH";
        for wrong in ["http://a", "http://:1", "http://a:0", "http://a:8300/v1"] {
            assert!(shown(wrong, &nothing).starts_with(url), "{wrong}");
        }
        let certificate = Proof { certificate: Some("me.pem".into()), ..Proof::default() };
        assert!(shown("http://a:8300", &certificate).contains("https:// only"));
        let missing = Proof { ca: Some("/nowhere/ca.pem".into()), ..Proof::default() };
        assert!(shown("https://a:8300", &missing).contains("/nowhere/ca.pem"));
    }
}
