//! TLS for ZEO clients, and for the operator: what the stock server's `<ssl>` section offers, with `rustls`.
//!
//! The server has a certificate, and clients present one that is trusted: one of the given certificates
//! itself, or one issued by one of them.

mod client_verifier;
mod key;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use client_verifier::PinningVerifier;
pub use subject::subject;

/// The variable that holds the password of an encrypted key.
pub const PASSWORD_VARIABLE: &str = "STANDBY_TLS_KEY_PASSWORD";

/// The files of a server's TLS configuration, all in PEM form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsOptions {
    /// The server's certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its key; `None`: in the certificate's file.
    pub key: Option<PathBuf>,
    /// Whom to trust: a file of certificates, or a directory of such files. `None`: no client certificate is asked
    /// for.
    pub client_ca: Option<PathBuf>,
}

/// What is asked of a client where `client_ca` says whom to trust. One that is not trusted is never let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientCertificate {
    /// Without one it is not let in.
    Required,
    /// Without one it is let in, and says otherwise who it is.
    Welcome,
}

/// Reads the files. The password of an encrypted key is in the environment, as [`PASSWORD_VARIABLE`].
pub fn acceptor(options: &TlsOptions, asked: ClientCertificate) -> Result<TlsAcceptor> {
    let password = std::env::var(PASSWORD_VARIABLE).ok();
    let chain = read_certificates(&options.certificate)?;
    let key_path = options.key.as_ref().unwrap_or(&options.certificate);
    let pem = std::fs::read(key_path).with_context(|| format!("cannot read {}", key_path.display()))?;
    let key = key::read(&pem, password.as_deref())
        .with_context(|| format!("the TLS key {}", key_path.display()))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("TLS 1.2 and 1.3 are supported")?;
    let config = match &options.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let trusted = read_trusted(path)?;
            let mut roots = RootCertStore::empty();
            for certificate in &trusted {
                roots
                    .add(certificate.clone())
                    .with_context(|| format!("a certificate in {}", path.display()))?;
            }
            let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let chains = match asked {
                ClientCertificate::Required => chains,
                ClientCertificate::Welcome => chains.allow_unauthenticated(),
            };
            let chains = chains.build()?;
            config.with_client_cert_verifier(Arc::new(PinningVerifier::new(chains, trusted)))
        }
    };
    let config = config.with_single_cert(chain, key).with_context(|| {
        format!(
            "the key {} does not go with the certificate {}",
            key_path.display(),
            options.certificate.display()
        )
    })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not in PEM form", path.display()))?;
    if certificates.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(certificates)
}

fn read_trusted(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    if !path.is_dir() {
        return read_certificates(path);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("cannot list {}", path.display()))?;
    files.retain(|file| file.is_file());
    files.sort();
    let mut trusted = Vec::new();
    for file in files {
        for certificate in read_certificates(&file)? {
            if !trusted.contains(&certificate) {
                trusted.push(certificate); // c_rehash leaves links with other names
            }
        }
    }
    if trusted.is_empty() {
        bail!("the directory {} holds no certificates", path.display());
    }
    Ok(trusted)
}
