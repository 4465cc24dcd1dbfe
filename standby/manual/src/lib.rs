//! Completions for shells, and manual pages: made from the command line itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use clap_complete::Shell;

/// What is made of the command line.
#[derive(Clone, Debug, Subcommand)]
pub enum Manual {
    /// Print what a shell needs to complete the arguments of this program
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands to a folder
    Man {
        /// Where to write them.
        folder: Option<PathBuf>,
    },
}

impl Manual {
    /// Makes it, for the program with this command line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn make(&self, command: clap::Command) -> Result<()> {
        match self {
            Self::Completions { shell } => completions(*shell, command),
            Self::Man { folder: Some(folder) } => pages(command, folder),
            Self::Man { folder: None } => Ok(clap_mangen::Man::new(command).render(&mut std::io::stdout())?),
        }
    }
}

fn completions(shell: Shell, mut command: clap::Command) -> Result<()> {
    let name = command.get_name().to_owned();
    // Written at once: whoever reads no further is no reason to panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

fn pages(command: clap::Command, folder: &Path) -> Result<()> {
    let failed = || format!("cannot write manual pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(command, folder).with_context(failed)
}
