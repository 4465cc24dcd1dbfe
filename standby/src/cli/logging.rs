//! `--log` and `--log-format`, and what an `<eventlog>` says.

use std::io::IsTerminal;

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
        let level = event_log.map_or("info", |event_log| event_log.level.name());
        // The engine of the decided log tells of each message that does not arrive; what comes of that is told elsewhere.
        let default = format!("{level},openraft=off");
        let filter = self.log.as_deref().unwrap_or(&default);
        let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter}"))?;
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
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
        match self.log_format {
            LogFormat::Text => log.with_ansi(colours).with_target(false).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
