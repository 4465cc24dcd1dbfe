//! The operator's tool.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;
use standby_admin::client::Client;
use standby_admin::manual::Manual;
use standby_admin::reach::Reach;
use standby_admin::{add, history, pack, settings, status};
use standby_control::{
    Ban, ChangeSettings, Disable, Forget, Pack, Pause, Promotion, Quieten, SettingChange, Switchover,
};

/// Shows and steers a Standby cluster.
///
/// Exit status: 0 it was done; 1 it was not, and the message says why; 2 the arguments are wrong.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the node does, how far it is, and who follows it.
    Status {
        /// Show it again and again, every so many seconds, until it is interrupted.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
        watch: Option<f64>,
    },
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
    #[command(flatten)]
    Manual(Manual),
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
    if let Command::Manual(manual) = &arguments.command {
        manual.make(Arguments::command())?;
        return Ok(String::new());
    }
    if !arguments.reach.is_said() {
        let text = "whom to ask must be said: --admin <ADDRESS>, or STANDBY_ADMIN in the environment";
        Arguments::command().error(ErrorKind::MissingRequiredArgument, text).exit();
    }
    let client = arguments.reach.client()?;
    let json = arguments.json;
    let soon = Duration::ZERO;
    match &arguments.command {
        Command::Manual(_) => unreachable!("it is made above"),
        Command::Status { watch: None } => {
            let told = client.status().await?;
            shown(json, &told, || status::shown(&told))
        }
        Command::Status { watch: Some(seconds) } => watch(&client, json, *seconds).await,
        Command::Disable { node } => {
            change(arguments, "/v1/disable", &Disable { node: node.clone(), disabled: true }, soon).await
        }
        Command::Enable { node } => {
            change(arguments, "/v1/disable", &Disable { node: node.clone(), disabled: false }, soon).await
        }
        Command::Add { name, address, group, role, secret_file } => {
            let (name, address, group) = (name.clone(), address.clone(), group.clone());
            let (is_witness, secret_file) = (role == "witness", secret_file.clone());
            let new = add::NewNode { name, address, group, is_witness, secret_file };
            let text = add::configuration(&new, &client.status().await?)?;
            shown(json, &serde_json::json!({ "configuration": text }), || text.clone())
        }
        Command::Pack { storage, days, no_wait } => {
            let wanted = Pack { storage: storage.clone(), days: *days };
            let begun = client.change("/v1/pack", &wanted, soon).await?;
            if *no_wait {
                return shown(json, &begun, || format!("{}\n", begun.done));
            }
            let told = pack::wait(&client, |line| eprintln!("{line}")).await?;
            shown(json, &told, || pack::shown(&told))
        }
        Command::Quiet { seconds } => {
            change(arguments, "/v1/quiet", &Quieten { seconds: *seconds }, soon).await
        }
        Command::Wake => change(arguments, "/v1/quiet", &Quieten { seconds: 0.0 }, soon).await,
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

/// Shows the status again and again. On a terminal, each time in the same place.
async fn watch(client: &Client, json: bool, seconds: f64) -> anyhow::Result<String> {
    let every =
        Duration::try_from_secs_f64(seconds).ok().filter(|every| *every >= Duration::from_millis(100));
    let every = every.context("--watch takes seconds, 0.1 or more")?;
    loop {
        let told = match client.status().await {
            Ok(told) => shown(json, &told, || status::shown(&told))?,
            Err(error) => format!("{error:#}\n"), // it may be back the next time
        };
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        writeln!(out, "{told}")?;
        out.flush()?;
        drop(out);
        tokio::time::sleep(every).await;
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
    let told = arguments.reach.client()?.change(path, wanted, takes).await?;
    shown(arguments.json, &told, || format!("{}\n", told.done))
}

fn shown(json: bool, told: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string_pretty(told)? + "\n" } else { text() })
}
