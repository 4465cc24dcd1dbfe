//! Certificates for tests, made by `openssl`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::place;

/// Certificates in a folder, each with a key beside it.
#[derive(Debug)]
pub struct Certificates(PathBuf);

impl Certificates {
    /// `authority.pem`; of it, `node.pem` for these addresses and `alice.pem` for a client; `mallory.pem` of `strangers.pem`.
    /// Keys end in `.key`. `None` where there is no `openssl`, which is said.
    ///
    /// # Errors
    /// `openssl` fails, and says why.
    pub fn make(folder: &Path, nodes: &[IpAddr]) -> Result<Option<Self>> {
        if place::program("openssl", "openssl").is_none() {
            return Ok(None);
        }
        let made = Self(folder.to_owned());
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        let own = |name: &str, authority: Option<&str>, extension: &str| -> Result<()> {
            let mut openssl = Command::new("openssl");
            openssl.args(["req", "-x509"]).args(curve).args(["-subj", &format!("/O=Example/CN={name}")]);
            openssl.args(["-addext", extension]);
            openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
            if let Some(authority) = authority {
                openssl.args(["-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key")]);
                openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            }
            let output = openssl.current_dir(folder).output()?;
            ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        let usage = "keyUsage=critical,digitalSignature,keyCertSign";
        let addresses: Vec<String> = nodes.iter().map(|node| format!("IP:{node}")).collect();
        own("authority", None, usage)?;
        own("strangers", None, usage)?;
        own("node", Some("authority"), &format!("subjectAltName={}", addresses.join(",")))?;
        own("alice", Some("authority"), "extendedKeyUsage=clientAuth")?;
        own("mallory", Some("strangers"), "extendedKeyUsage=clientAuth")?;
        Ok(Some(made))
    }

    /// The path of one of them.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}
