//! What a certificate calls its owner.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Its subject as RFC 4514 writes it, such as `CN=alice,O=Example`; `None`: it has none.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate.subject.to_string();
    (!subject.is_empty()).then_some(subject)
}
