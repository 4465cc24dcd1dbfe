//! `<ssl>` in `<zeo>`: TLS with clients.

use std::path::PathBuf;

use super::keys::Keys;
use super::report::Report;
use super::section::Section;
use super::surroundings::Surroundings;
use super::values::{path, path_in_directory};
use crate::tls::PASSWORD_VARIABLE;

/// The section `<ssl>`: files in PEM form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SslSection {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key; `None`: in the certificate's file.
    pub key: Option<PathBuf>,
    /// Whom to trust: a file or a directory of certificates.
    pub authenticate: PathBuf,
}

/// Understands an `<ssl>` section.
pub fn interpret(
    section: &Section,
    surroundings: &dyn Surroundings,
    report: &mut Report,
) -> Option<SslSection> {
    let mut keys = Keys::of(section, report);
    let why = format!(
        "it is a Python function, which Standby cannot call: give the key's password in the environment variable \
         {PASSWORD_VARIABLE}, and remove the line"
    );
    keys.refuse("password-function", report, &why);
    let certificate = keys.require("certificate", report, |text| path_in_directory(text, surroundings));
    let key = keys.take("key", report, |text| path_in_directory(text, surroundings));
    let authenticate = keys.require("authenticate", report, |text| match text {
        "DYNAMIC" | "SIGNED" | "-" => Err(format!(
            "`{text}` names no certificates: give a file or a directory of those that are trusted"
        )),
        text => path(text),
    });
    keys.finish(report);
    for inner in section.sections.iter().filter(|inner| !inner.kind.is_empty()) {
        report.mistake(inner.place, format!("unknown section {inner}: <ssl> has none"));
    }
    Some(SslSection { certificate: certificate?, key, authenticate: authenticate? })
}
