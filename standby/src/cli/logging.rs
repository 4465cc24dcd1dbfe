//! `--log` and `--log-format`.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Where the log goes is standard error; what goes there is said here.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter by module such as `info,standby::session=debug`
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "STANDBY_LOG")]
    log: String,

    /// How to write log lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
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
    /// Sends the log to standard error from now on.
    pub fn start(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| format!("--log {}", self.log))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => {
                let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
                log.with_ansi(colours).with_target(false).init();
            }
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
