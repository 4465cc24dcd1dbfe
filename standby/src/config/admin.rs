//! `[admin]`: how an operator proves over TCP who they are.

use super::reader::Document;
use super::secret::Secret;
use super::values;
use crate::tls::TlsOptions;

/// How an operator is let in where the control API listens on TCP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admin {
    /// What they say; [`Secret::None`]: nothing.
    pub token: Secret,
    /// TLS on these listeners. With `client_ca`, a certificate stands for the token.
    pub tls: Option<TlsOptions>,
    /// Metrics are told to everybody.
    pub open_metrics: bool,
}

impl Admin {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        document.section_or_empty("admin", |section| {
            let token = Secret::read(section, "token", "token_file");
            let certificate = section.optional("certificate", values::path);
            let key = section.optional("key", values::path);
            let client_ca = section.optional("client_ca", values::path);
            if certificate.is_none() {
                for (name, given) in [("key", &key), ("client_ca", &client_ca)] {
                    if given.is_some() {
                        section.wrong(name, format!("`{name}` is of no use without `certificate`"));
                    }
                }
            }
            let tls = certificate.map(|certificate| TlsOptions { certificate, key, client_ca });
            Self { token, tls, open_metrics: section.or("open_metrics", values::flag, false) }
        })
    }

    /// There is a way to be let in over TCP.
    pub(super) fn lets_someone_in(&self) -> bool {
        self.token != Secret::None || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }
}
