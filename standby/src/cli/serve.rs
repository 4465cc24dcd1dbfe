//! The options of `standby serve`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, ValueEnum};

use super::storage_spec::StorageSpec;
use crate::listener::ListenAddress;
use crate::serve::ServeOptions;
use crate::server::ConnectionLimits;
use crate::service::invalidations::InvalidationPolicy;
use crate::tls::TlsOptions;

/// `standby serve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["path", "storage"]))]
pub struct ServeArgs {
    /// The Data.fs to serve as storage `1`; made if it does not exist
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// A storage to serve, instead of PATH; can be given more than once
    #[arg(long, value_name = "NAME=PATH[,blobs=DIR][,read-only][,no-pack-gc]")]
    storage: Vec<StorageSpec>,

    /// Where clients connect: HOST:PORT (port 0 picks a free one) or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    zeo: ListenAddress,

    /// Speak TLS with clients, with this certificate (PEM; its chain may follow it)
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// The certificate's key (PEM; default: in the certificate's file). The password of an encrypted one is taken
    /// from the environment variable STANDBY_TLS_KEY_PASSWORD
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Accept only clients with a certificate that is, or was issued by, one in this file or directory (PEM)
    #[arg(long, value_name = "FILE_OR_DIRECTORY", requires = "tls_certificate")]
    tls_client_ca: Option<PathBuf>,

    /// The encoding that clients are greeted with; msgpack is faster, and needs the Python package `msgpack` there
    #[arg(long, value_name = "ENCODING", default_value = "pickle")]
    encoding: EncodingArg,

    /// Refuse clients that want to write
    #[arg(long)]
    read_only: bool,

    /// Tell a returning client what changed only if it missed at most N transactions, as the stock server does
    /// (default: as far back as the log goes)
    #[arg(long, value_name = "N")]
    invalidation_queue_size: Option<usize>,

    /// With the stock server's queue: also read the log for a client whose last transaction is younger than this
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    invalidation_age: Option<Duration>,

    /// Close the connection of a client that takes longer than this from its vote to its finish (default: no limit)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    transaction_timeout: Option<Duration>,

    /// Greatest number of clients at one time
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().connections_max)]
    max_connections: usize,

    /// Greatest message that is accepted from a client, in MiB
    #[arg(long, value_name = "MIB", default_value_t = ConnectionLimits::default().frame_bytes_max >> 20, value_parser = clap::value_parser!(u32).range(1..=4095))]
    max_message_mib: u32,

    /// Sleep this long before each load's reply, to provoke races in tests
    #[arg(long, value_name = "MS", default_value_t = 0)]
    debug_load_delay_ms: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingArg {
    Pickle,
    Msgpack,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("expected a number of seconds, not {text:?}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl ServeArgs {
    /// What to serve, and how.
    pub fn options(self) -> Result<ServeOptions> {
        let storages = match self.path {
            Some(path) => vec![StorageSpec::plain("1", path)],
            None => self.storage,
        };
        for (index, spec) in storages.iter().enumerate() {
            if storages[..index].iter().any(|earlier| earlier.name == spec.name) {
                bail!("storage {:?} is given twice", spec.name);
            }
        }
        let invalidations = match (self.invalidation_queue_size, self.invalidation_age) {
            (None, None) => InvalidationPolicy::Log,
            (queue_size, age) => InvalidationPolicy::Stock {
                queue_size: queue_size.unwrap_or(InvalidationPolicy::STOCK_QUEUE_SIZE),
                age,
            },
        };
        Ok(ServeOptions {
            zeo: self.zeo,
            tls: self.tls_certificate.map(|certificate| TlsOptions {
                certificate,
                key: self.tls_key,
                client_ca: self.tls_client_ca,
            }),
            encoding: match self.encoding {
                EncodingArg::Pickle => zeo_proto::Encoding::Pickle,
                EncodingArg::Msgpack => zeo_proto::Encoding::Msgpack,
            },
            read_only: self.read_only,
            invalidations,
            transaction_timeout: self.transaction_timeout,
            load_delay: Duration::from_millis(self.debug_load_delay_ms),
            limits: ConnectionLimits {
                frame_bytes_max: self.max_message_mib << 20,
                connections_max: self.max_connections,
            },
            storages,
        })
    }
}
