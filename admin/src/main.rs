//! The operator's tool.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde::Serialize;
use standby_admin::cli::{Arguments, Command, LostCommand, SettingsCommand};
use standby_admin::client::Client;
use standby_admin::{add, history, lost, pack, settings, status, style, units};
use standby_control::{
    Ban, ChangeSettings, Disable, Forget, Pack, Pause, Promotion, Quieten, SettingChange, Switchover,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(text) => {
            let _ = anstream::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        // Whoever reads no further is no reason to fail.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}: {error:#}", style::attention("standby-admin"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
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
        Command::Status { watch: Some(every) } => watch(&client, json, *every).await,
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
            let mut told = client.history().await?;
            told.happenings.drain(..told.happenings.len().saturating_sub(*last));
            shown(json, &told, || history::shown(&told))
        }
        Command::Lost { command } => lost_command(&client, json, command.as_ref()).await,
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
async fn watch(client: &Client, json: bool, every: Duration) -> anyhow::Result<String> {
    loop {
        let told = match client.status().await {
            Ok(told) => shown(json, &told, || status::shown(&told))?,
            Err(error) => format!("{error:#}\n"), // it may be back the next time
        };
        let mut out = std::io::stdout();
        if out.is_terminal() {
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{told}")?;
        out.flush()?;
        drop(out);
        tokio::time::sleep(every).await;
    }
}

async fn lost_command(client: &Client, json: bool, command: Option<&LostCommand>) -> anyhow::Result<String> {
    let known = client.lost().await?;
    match command {
        None => shown(json, &known, || lost::shown(&known)),
        Some(LostCommand::Show { file }) => {
            let wanted = lost::wanted(&known, file)?;
            lost::show(client, &wanted, json, &mut anstream::stdout().lock()).await?;
            Ok(String::new())
        }
        Some(LostCommand::Export { file, to }) => {
            let wanted = lost::wanted(&known, file)?;
            let length = lost::export(client, &wanted, to).await?;
            let told = serde_json::json!({ "file": wanted.file, "to": to, "bytes": length });
            shown(json, &told, || {
                let (length, to) = (units::bytes(length), to.display());
                format!(
                    "{to}: {length}. `standby dump {to}` and ZODB's FileStorage(read_only=True) read it\n"
                )
            })
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
    let told = arguments.reach.client()?.change(path, wanted, takes).await?;
    shown(arguments.json, &told, || format!("{}\n", told.done))
}

fn shown(json: bool, told: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string_pretty(told)? + "\n" } else { text() })
}
