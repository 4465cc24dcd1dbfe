//! The options that say which node is asked, and who asks.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::client::Client;
use crate::endpoint::Proof;

/// What these options stand under in the help.
const WHOM: &str = "Whom to ask";

/// Which node, and who.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// The control API of a node, as `admin` in its [listen] says: unix:PATH, http://HOST:PORT or https://HOST:PORT.
    #[arg(long, global = true, help_heading = WHOM, value_name = "ADDRESS", env = "STANDBY_ADMIN")]
    admin: Option<String>,
    /// The file with the token that opens it over TCP.
    #[arg(long, global = true, help_heading = WHOM, value_name = "FILE", env = "STANDBY_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Whom to trust with https: certificates in PEM form.
    #[arg(long, global = true, help_heading = WHOM, value_name = "FILE", env = "STANDBY_ADMIN_CA")]
    ca: Option<PathBuf>,
    /// A certificate in PEM form to be known by, in place of the token.
    #[arg(long, global = true, help_heading = WHOM, value_name = "FILE", env = "STANDBY_ADMIN_CERT")]
    cert: Option<PathBuf>,
    /// Its key [default: in the certificate's file].
    #[arg(long, global = true, help_heading = WHOM, value_name = "FILE", env = "STANDBY_ADMIN_KEY", requires = "cert")]
    key: Option<PathBuf>,
}

impl Reach {
    /// Whether it is said which node.
    pub fn is_said(&self) -> bool {
        self.admin.is_some()
    }

    /// The node.
    ///
    /// # Errors
    /// The address is none, or a file cannot be read.
    pub fn client(&self) -> Result<Client> {
        let Self { admin, token_file, ca, cert, key } = self.clone();
        let admin = admin.context("whom to ask is not said")?;
        Client::open(&admin, &Proof { token_file, ca, certificate: cert, key })
    }
}
