//! The operator's tool.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use standby_admin::client::Client;
use standby_admin::status;

/// Shows and steers a Standby cluster.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// The control API of a node, as `admin` in its [listen] says.
    #[arg(long, value_name = "unix:PATH", env = "STANDBY_ADMIN")]
    admin: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the node does, how far it is, and who follows it.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
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
    match arguments.command {
        Command::Status { json } => {
            let told = client.status().await?;
            Ok(if json { serde_json::to_string_pretty(&told)? + "\n" } else { status::shown(&told) })
        }
    }
}
