//! What is possible in a configuration, and not wise.

use std::net::IpAddr;

use super::{NodeConfig, Secret};
use crate::listener::ListenAddress;

impl NodeConfig {
    /// What its operator should know before the node runs like this.
    pub fn warnings(&self) -> Vec<String> {
        if self.admin.token == Secret::None || self.admin.tls.is_some() {
            return Vec::new();
        }
        let exposed = self.listen.admin.iter().filter(|address| !is_local(address));
        let warning = |address: &ListenAddress| {
            format!(
                "the token of [admin] passes the network readable for everybody: with `admin` on {address}, give `certificate` and \
                 `key` in [admin]"
            )
        };
        exposed.map(warning).collect()
    }
}

/// It is reached from this machine alone.
fn is_local(address: &ListenAddress) -> bool {
    let ListenAddress::Tcp(text) = address else { return true };
    let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
