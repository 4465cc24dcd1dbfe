//! `--log` and `--log-format`, and what an `<eventlog>` says.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::log_file;
use crate::zeo_conf::{EventLog, LogTarget};

/// The log goes to standard error, unless an `<eventlog>` names another place; what goes there is said here.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter by module such as `info,standby::session=debug`
    /// (default: as the configuration file says, or info)
    #[arg(long, global = true, value_name = "FILTER", env = "STANDBY_LOG")]
    log: Option<String>,

    /// How to write log lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// Changes what is logged.
struct Refilter(Box<dyn Fn(EnvFilter) + Send + Sync>);

/// That of this process, unless `--log` says what is logged.
static REFILTER: OnceLock<Refilter> = OnceLock::new();

fn configured_filter(configured: Option<&str>) -> Result<EnvFilter> {
    // The engine of the decided log tells of each message that does not arrive; what comes of that is told elsewhere.
    let filter = format!("{},openraft=off", configured.unwrap_or("info"));
    EnvFilter::try_new(&filter).with_context(|| format!("log filter {filter}"))
}

/// Logs what a configuration that was read anew says, from now on.
pub fn refilter(configured: Option<&str>) {
    if let (Some(Refilter(refilter)), Ok(filter)) = (REFILTER.get(), configured_filter(configured)) {
        refilter(filter);
    }
}

/// Formats of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArgs {
    /// Starts the log: what `--log` says goes before what the `<eventlog>` says.
    pub fn start(&self, event_log: Option<&EventLog>) -> Result<()> {
        self.begin(event_log, event_log.map(|event_log| event_log.level.name()))
    }

    /// Starts the log of a node: what `--log` says goes before what the node's file says, now and when that is read anew.
    pub fn start_node(&self, filter: Option<&str>) -> Result<()> {
        self.begin(None, filter)
    }

    fn begin(&self, event_log: Option<&EventLog>, configured: Option<&str>) -> Result<()> {
        let filter = match &self.log {
            Some(filter) => EnvFilter::try_new(filter).with_context(|| format!("--log {filter}"))?,
            None => configured_filter(configured)?,
        };
        let (writer, colours) = match event_log.map(|event_log| &event_log.target) {
            None | Some(LogTarget::Stderr) => {
                (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal())
            }
            Some(LogTarget::Stdout) => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
            Some(LogTarget::File { path, rotation }) => {
                let open = log_file::open(path, *rotation);
                let file = open.with_context(|| format!("cannot open the log file {}", path.display()))?;
                (BoxMakeWriter::new(move || file.clone()), false)
            }
        };
        let log = tracing_subscriber::fmt().with_writer(writer);
        let refilter = match self.log_format {
            LogFormat::Text => {
                let log =
                    log.with_ansi(colours).with_target(false).with_env_filter(filter).with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                Refilter(Box::new(move |filter| drop(handle.reload(filter))))
            }
            LogFormat::Json => {
                let log = log.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                Refilter(Box::new(move |filter| drop(handle.reload(filter))))
            }
        };
        if self.log.is_none() {
            let _ = REFILTER.set(refilter);
        }
        Ok(())
    }
}
