//! The operator's tool.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::Serialize;
use standby_admin::client::Client;
use standby_admin::{history, settings, status};
use standby_control::{Ban, ChangeSettings, Forget, Pause, Promotion, SettingChange, Switchover};

/// Shows and steers a Standby cluster.
///
/// Exit status: 0 it was done; 1 it was not, and the message says why; 2 the arguments are wrong.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// The control API of a node, as `admin` in its [listen] says.
    #[arg(long, value_name = "unix:PATH", env = "STANDBY_ADMIN")]
    admin: String,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the node does, how far it is, and who follows it.
    Status,
    /// What has happened: promotions, joins, settings; newest last.
    History {
        /// No more than so many.
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
        last: usize,
    },
    /// Lists the transactions that were lost in failovers, and where they are kept: as files that `standby dump` and ZODB read.
    Lost,
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
    /// Removes a node for good: its vote does not count any more, and it does not come back.
    Forget {
        /// The node.
        node: String,
    },
    /// Shows and changes what is set for the whole cluster. Without a further word, lists all settings.
    Settings {
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
}

#[derive(Subcommand)]
enum SettingsCommand {
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("standby-admin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let client = Client::new(&arguments.admin);
    let json = arguments.json;
    let soon = Duration::ZERO;
    match &arguments.command {
        Command::Status => {
            let told = client.status().await?;
            shown(json, &told, || status::shown(&told))
        }
        Command::History { last } => {
            let told = client.history().await?;
            shown(json, &told, || history::shown(&told, *last))
        }
        Command::Lost => {
            let mut told = client.history().await?;
            told.happenings.retain(|entry| entry.details["what"] == "lost");
            shown(json, &told, || history::lost(&told))
        }
        Command::Switchover { to, timeout, dry_run } => {
            let (to, timeout_seconds) = (to.clone(), Some(*timeout));
            let takes = Duration::try_from_secs_f64(*timeout).unwrap_or_default();
            change(arguments, "/v1/switchover", &Switchover { to, timeout_seconds, dry_run: *dry_run }, takes)
                .await
        }
        Command::Promote { node, force, without_majority } => {
            let wanted = Promotion { node: node.clone(), force: *force, without_majority: *without_majority };
            change(arguments, "/v1/promote", &wanted, Duration::from_secs(60)).await
        }
        Command::Pause => change(arguments, "/v1/pause", &Pause { paused: true }, soon).await,
        Command::Resume => change(arguments, "/v1/pause", &Pause { paused: false }, soon).await,
        Command::Ban { node } => {
            change(arguments, "/v1/ban", &Ban { node: node.clone(), banned: true }, soon).await
        }
        Command::Unban { node } => {
            change(arguments, "/v1/ban", &Ban { node: node.clone(), banned: false }, soon).await
        }
        Command::Forget { node } => {
            change(arguments, "/v1/forget", &Forget { node: node.clone() }, soon).await
        }
        Command::Settings { command } => settings_command(&client, json, command.as_ref()).await,
        Command::Reload => {
            let told = client.reload().await?;
            shown(json, &told, || settings::reloaded(&told))
        }
        Command::Acks { count } => {
            let pair = ["acks".to_owned(), count.to_string()];
            change_settings(&client, json, settings::pairs(&pair)?, false).await
        }
    }
}

async fn settings_command(
    client: &Client,
    json: bool,
    command: Option<&SettingsCommand>,
) -> anyhow::Result<String> {
    match command {
        None => {
            let told = client.settings().await?;
            shown(json, &told, || settings::shown(&told))
        }
        Some(SettingsCommand::Get { name }) => {
            let told = client.settings().await?;
            match told.settings.iter().find(|setting| setting.name == *name) {
                Some(setting) => shown(json, setting, || settings::one(setting)),
                // The node knows what may have been meant.
                None => {
                    change_settings(client, json, settings::names(std::slice::from_ref(name)), true).await
                }
            }
        }
        Some(SettingsCommand::Set { pairs, dry_run }) => {
            change_settings(client, json, settings::pairs(pairs)?, *dry_run).await
        }
        Some(SettingsCommand::Unset { names, dry_run }) => {
            change_settings(client, json, settings::names(names), *dry_run).await
        }
    }
}

async fn change_settings(
    client: &Client,
    json: bool,
    changes: Vec<SettingChange>,
    dry_run: bool,
) -> anyhow::Result<String> {
    let told = client.change_settings(&ChangeSettings { changes, dry_run }).await?;
    shown(json, &told, || settings::changed(&told))
}

/// Has something changed, and tells what was done.
async fn change(
    arguments: &Arguments,
    path: &str,
    wanted: &impl Serialize,
    takes: Duration,
) -> anyhow::Result<String> {
    let told = Client::new(&arguments.admin).change(path, wanted, takes).await?;
    shown(arguments.json, &told, || format!("{}\n", told.done))
}

fn shown(json: bool, told: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string_pretty(told)? + "\n" } else { text() })
}
