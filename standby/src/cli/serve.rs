//! The options of `standby serve`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use tracing::info;

use super::log_file;
use super::pid_file::PidFile;
use super::storage_spec::StorageSpec;
use crate::listener::ListenAddress;
use crate::serve::ServeOptions;
use crate::server::ConnectionLimits;
use crate::service::invalidations::InvalidationPolicy;
use crate::tls::TlsOptions;
use crate::zeo_conf::{self, EventLog, FileStorageSection, SslSection, ZeoConf};

/// `standby serve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["path", "storage", "configuration"]))]
pub struct ServeArgs {
    /// The Data.fs to serve as storage `1`; made if it does not exist
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// A storage to serve, instead of PATH; can be given more than once
    #[arg(long, value_name = "NAME=PATH[,blobs=DIR][,read-only][,no-pack-gc]")]
    storage: Vec<StorageSpec>,

    /// The configuration file of a stock ZEO server (zeo.conf), instead of PATH; the options below go before what it
    /// says
    #[arg(short = 'C', long, visible_alias = "configure", value_name = "FILE")]
    configuration: Option<PathBuf>,

    /// Where clients connect: HOST:PORT (port 0 picks a free one) or unix:PATH (default: 127.0.0.1:8100)
    #[arg(long, value_name = "ADDRESS")]
    zeo: Option<ListenAddress>,

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
    /// (default: pickle)
    #[arg(long, value_name = "ENCODING")]
    encoding: Option<EncodingArg>,

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
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().connections_max, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
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

/// Where clients connect if nothing is said.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8100";

/// What is to be done: the server's options, and what surrounds the server.
#[derive(Debug)]
pub struct ServePlan {
    options: ServeOptions,
    /// What a configuration file says about the log.
    pub event_log: Option<EventLog>,
    pid_file: Option<PathBuf>,
    notes: Vec<String>,
}

impl ServePlan {
    /// Serves, once the log has been started.
    pub fn run(self) -> Result<()> {
        for note in &self.notes {
            info!("{note}");
        }
        let _pid_file = self.pid_file.map(PidFile::write);
        crate::serve::run(&self.options, log_file::reopen)
    }
}

impl ServeArgs {
    /// What the options and the configuration file say together.
    pub fn plan(self) -> Result<ServePlan> {
        let (conf, notes) = match &self.configuration {
            Some(path) => {
                let (conf, notes) = zeo_conf::load(path, &zeo_conf::Machine)?;
                (Some(conf), notes)
            }
            None => (None, Vec::new()),
        };
        Ok(ServePlan {
            event_log: conf.as_ref().and_then(|conf| conf.event_log.clone()),
            pid_file: conf.as_ref().and_then(|conf| conf.zeo.pid_filename.clone()),
            options: self.options(conf)?,
            notes,
        })
    }

    /// What to serve, and how: the options first, then the file, then the defaults.
    fn options(self, conf: Option<ZeoConf>) -> Result<ServeOptions> {
        let (zeo, stored) = conf.map_or((None, Vec::new()), |conf| (Some(conf.zeo), conf.storages));
        let storages = match self.path {
            Some(path) => vec![StorageSpec::plain("1", path)],
            None => self.storage.into_iter().chain(stored.into_iter().map(StorageSpec::from)).collect(),
        };
        for (index, spec) in storages.iter().enumerate() {
            if storages[..index].iter().any(|earlier| earlier.name == spec.name) {
                bail!("storage {:?} is given twice", spec.name);
            }
        }
        let zeo = zeo.as_ref();
        let queue_size = self.invalidation_queue_size.or(zeo.and_then(|zeo| zeo.invalidation_queue_size));
        let age = self.invalidation_age.or(zeo.and_then(|zeo| zeo.invalidation_age));
        let invalidations = match (queue_size, age) {
            (None, None) => InvalidationPolicy::Log,
            (queue_size, age) => InvalidationPolicy::Stock {
                queue_size: queue_size.unwrap_or(InvalidationPolicy::STOCK_QUEUE_SIZE),
                age,
            },
        };
        let tls = match self.tls_certificate {
            Some(certificate) => {
                Some(TlsOptions { certificate, key: self.tls_key, client_ca: self.tls_client_ca })
            }
            None => zeo.and_then(|zeo| zeo.ssl.clone()).map(TlsOptions::from),
        };
        let encoding = match self.encoding {
            Some(EncodingArg::Pickle) => zeo_proto::Encoding::Pickle,
            Some(EncodingArg::Msgpack) => zeo_proto::Encoding::Msgpack,
            None if zeo.is_some_and(|zeo| zeo.msgpack) => zeo_proto::Encoding::Msgpack,
            None => zeo_proto::Encoding::Pickle,
        };
        let default_address = || DEFAULT_ADDRESS.parse().expect("it is a valid address");
        Ok(ServeOptions {
            zeo: self.zeo.or(zeo.map(|zeo| zeo.address.clone())).unwrap_or_else(default_address),
            tls,
            encoding,
            read_only: self.read_only || zeo.is_some_and(|zeo| zeo.read_only),
            invalidations,
            transaction_timeout: self.transaction_timeout.or(zeo.and_then(|zeo| zeo.transaction_timeout)),
            load_delay: Duration::from_millis(self.debug_load_delay_ms),
            limits: ConnectionLimits {
                frame_bytes_max: self.max_message_mib << 20,
                connections_max: self.max_connections,
            },
            storages,
        })
    }
}

impl From<FileStorageSection> for StorageSpec {
    fn from(section: FileStorageSection) -> Self {
        let FileStorageSection { name, path, blob_dir, read_only, pack_gc, pack_keep_old } = section;
        Self { name, path, blob_dir, read_only, pack_gc, pack_keep_old }
    }
}

impl From<SslSection> for TlsOptions {
    fn from(section: SslSection) -> Self {
        let SslSection { certificate, key, authenticate } = section;
        Self { certificate, key, client_ca: Some(authenticate) }
    }
}

#[cfg(test)]
#[path = "serve_test.rs"]
mod tests;
