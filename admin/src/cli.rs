//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use standby_manual::Manual;

use crate::reach::Reach;

/// Shows and steers a Standby cluster.
///
/// Exit status: 0 it was done; 1 it was not, and the message says why; 2 the arguments are wrong.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    /// Whom to ask.
    #[command(flatten)]
    pub reach: Reach,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What the node does, how far it is, and who follows it.
    Status {
        /// Show it again and again, every so many seconds, until it is interrupted.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = every)]
        watch: Option<Duration>,
    },
    /// What has happened: promotions, joins, settings; newest last.
    History {
        /// No more than so many.
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
        last: usize,
    },
    /// Lists the files with transactions that were lost in failovers. A further word shows what is in one, or copies it.
    Lost {
        /// What to do with one
        #[command(subcommand)]
        command: Option<LostCommand>,
    },
    /// Makes a replica the primary and the primary a replica, without losing anything.
    ///
    /// New votes of clients wait until it is done. If the replica does not have everything in time, nothing changes.
    Switchover {
        /// The replica [default: the best one].
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// How long the replica may take to have everything, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
        timeout: f64,
        /// Change nothing, and say what is in the way.
        #[arg(long)]
        dry_run: bool,
    },
    /// Makes a node the primary that would not become it by itself: one of another group, or one that lacks transactions.
    ///
    /// What only the others have is lost. Waits until the primary's lease has ended; where there is a primary, use `switchover`.
    Promote {
        /// The node.
        node: String,
        /// Yes, something may be lost.
        #[arg(long)]
        force: bool,
        /// No majority of the voters will ever be reached again: go on with this node alone, which must be reachable from the
        /// node that is asked. The others join it when they hear of it, and what only they have is lost.
        #[arg(long, requires = "force")]
        without_majority: bool,
    },
    /// Turns automatic failover off: nobody takes a primary's place by itself.
    Pause,
    /// Turns automatic failover on again.
    Resume,
    /// Keeps a node from being promoted by itself.
    Ban {
        /// The node.
        node: String,
    },
    /// Lets a banned node be promoted again.
    Unban {
        /// The node.
        node: String,
    },
    /// Takes a node out while it is worked on: it is neither promoted, by anybody, nor waited for. It follows as it can, and its vote
    /// counts. A banned node is only not promoted by itself.
    Disable {
        /// The node.
        node: String,
    },
    /// Lets a disabled node count again.
    Enable {
        /// The node.
        node: String,
    },
    /// Prints the configuration file of a node that is to join the cluster.
    Add {
        /// What it is to be called.
        name: String,
        /// Where other nodes will reach it.
        #[arg(long, value_name = "HOST:PORT")]
        address: String,
        /// Its site [default: the primary's].
        #[arg(long)]
        group: Option<String>,
        /// What it is to be.
        #[arg(long, default_value = "auto", value_parser = ["auto", "witness"])]
        role: String,
        /// Where it will find the secret of the cluster.
        #[arg(long, value_name = "PATH", default_value = "secret")]
        secret_file: String,
    },
    /// Packs at the primary: removes what was not current any more, so many days ago. Waits until it is done.
    Pack {
        /// The storage [default: all].
        #[arg(long, value_name = "NAME")]
        storage: Option<String>,
        /// What was current within so many days stays.
        #[arg(long, default_value_t = 0.0)]
        days: f64,
        /// Only begin it.
        #[arg(long)]
        no_wait: bool,
    },
    /// Makes the node that is asked silent on the network, for a drill: it hears and answers nobody, and comes back by itself.
    Quiet {
        /// For so long, up to an hour.
        seconds: f64,
    },
    /// Ends that silence.
    Wake,
    /// Removes a node for good: its vote does not count any more, and it does not come back.
    #[command(visible_alias = "remove")]
    Forget {
        /// The node.
        node: String,
    },
    /// Shows and changes what is set for the whole cluster. Without a further word, lists all settings.
    Settings {
        /// What to do with them
        #[command(subcommand)]
        command: Option<SettingsCommand>,
    },
    /// Has the node read its own configuration file anew, as SIGHUP does: says what took effect, and what needs a restart.
    Reload,
    /// Sets how many replicas must acknowledge each transaction before its client is answered: short for `settings set acks`.
    Acks {
        /// 0: none.
        count: usize,
    },
    /// Completions and manual pages.
    #[command(flatten)]
    Manual(Manual),
}

/// What to do with a file of lost transactions.
#[derive(Debug, Subcommand)]
pub enum LostCommand {
    /// Lists the transactions of a file, with what they wrote, as `standby dump` does. Ask the node that has it.
    Show {
        /// The file: its number in the list, or its name.
        file: String,
    },
    /// Copies a file from the node that has it. ZODB's FileStorage and its tools read it as it is, and so does `standby dump`.
    Export {
        /// The file: its number in the list, or its name.
        file: String,
        /// Where to: a file that is not there yet.
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// Says what a setting is, who says so, and what it may be.
    Get {
        /// The setting.
        name: String,
    },
    /// Changes settings, all of these together or none.
    Set {
        /// The setting and its value, as often as you like.
        #[arg(value_names = ["NAME", "VALUE"], num_args = 2.., required = true)]
        pairs: Vec<String>,
        /// Change nothing, and say what would.
        #[arg(long)]
        dry_run: bool,
    },
    /// Leaves settings to the nodes' files again.
    Unset {
        /// The settings.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Change nothing, and say what would.
        #[arg(long)]
        dry_run: bool,
    },
}

/// How often something is to be shown, in seconds.
fn every(seconds: &str) -> Result<Duration, String> {
    let every = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    every
        .filter(|every| *every >= Duration::from_millis(100))
        .ok_or_else(|| "expected 0.1 seconds or more".to_owned())
}
