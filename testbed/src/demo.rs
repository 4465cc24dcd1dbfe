//! What a newcomer sees first: a cluster at two sites under real work, whose primary is killed, comes back, and is exchanged.
//!
//! | module | what |
//! |---|---|
//! | `act`, `play`, `stage` | the acts; playing them; the nodes and the links between them |
//! | `site`, `made`, `files` | what the cluster begins with: a copy, or one that is made |
//! | `clients`, `python`, `stock`, `own`, `visits` | who does the work: stock clients, or those in Rust |
//! | `board`, `view`, `background`, `observer`, `counter` | what is shown, as plain data, and who finds it out |
//! | `screen`, `terminal`, `plain` | showing it: live in a terminal, or as lines |
//! | `judge`, `findings`, `summary`, `kept` | what is true in the end, in words and numbers |

mod act;
mod background;
mod board;
mod clients;
mod counter;
mod files;
mod findings;
mod judge;
mod kept;
mod made;
mod observer;
mod own;
mod plain;
mod play;
mod python;
mod screen;
mod site;
mod stage;
mod stock;
mod summary;
mod terminal;
mod view;
mod visits;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use self::board::{Board, GivenUp};
use self::clients::Kind;
use self::findings::Findings;
use self::play::Props;
use self::site::Site;
use self::stage::Stage;
use crate::place;

/// A socket's path may be no longer, in bytes; a little is left for names of nodes.
const FOLDER_BYTES_MAX: usize = 80;

/// Options of the demonstration.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Begin with a copy of this Data.fs, or of the one in this folder, and of the blobs beside it [default: a small site is made]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Where the blobs of that are [default: blobs or blobstorage, beside it or one folder up]
    #[arg(long, value_name = "FOLDER", requires = "data")]
    blobs: Option<PathBuf>,
    /// Who writes and reads [default: stock, if there is a Python with ZEO or one can be made, else rust]
    #[arg(long, value_enum)]
    clients: Option<Wanted>,
    /// Print lines, and draw nothing; so it is, too, where standard output is no terminal
    #[arg(long)]
    plain: bool,
    /// Let the cluster run on afterwards, and say how to use it
    #[arg(long)]
    keep: bool,
}

/// Which clients are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Stock ZEO clients, in Python
    Stock,
    /// The client in Rust
    Rust,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that it claims has happened.
    AsClaimed,
    /// Something has not.
    NotAsClaimed,
    /// The user gave it up.
    GivenUp,
}

/// Shows it, prints the summary, and cleans up.
///
/// # Errors
/// It could not be shown to its end.
pub fn run(options: &Options) -> Result<Ending> {
    let standby = place::standby_binary_shown()?;
    let admin = if options.keep { Some(place::admin_binary_shown()?) } else { None };
    let kind = kind(options.clients)?;
    println!("clients: {}", kind.what());
    let folder = folder()?;
    let origin = folder.path().join("origin");
    let site = match &options.data {
        Some(named) => Site::copy(named, options.blobs.as_deref(), &origin)?,
        None => Site::make(&origin)?,
    };
    println!("site:    {}", site.what);
    let board = Arc::new(Board::new());
    give_up_on_signals(&board)?;
    let observer = observer::start(Arc::clone(&board), Stage::observed(folder.path()))?;
    let props = Props { folder: folder.path().to_owned(), standby, site, kind, keep: options.keep };
    let player = {
        let board = Arc::clone(&board);
        std::thread::Builder::new().name("player".to_owned()).spawn(move || play::play(&props, &board))?
    };
    let is_over = || player.is_finished();
    let shown = match options.plain || !std::io::stdout().is_terminal() {
        true => plain::show(&board, is_over),
        false => terminal::show(&board, is_over),
    };
    if shown.is_err() {
        board.give_up(); // so that the player ends, too, and with it all processes
    }
    let played = ended(player);
    drop(observer);
    shown?;
    let (findings, stage) = match played {
        Err(error) if error.is::<GivenUp>() => {
            println!("given up; all processes are stopped, and all files removed");
            return Ok(Ending::GivenUp);
        }
        played => played.with_context(|| logs(folder.path()))?,
    };
    println!("\n{}", summary::text(&findings));
    if let Some(admin) = admin {
        keep(stage, &admin, &board)?;
    }
    Ok(if summary::holds(&findings) { Ending::AsClaimed } else { Ending::NotAsClaimed })
}

/// What the player has to say; a panic of it is an error.
fn ended(player: JoinHandle<Result<(Findings, Stage)>>) -> Result<(Findings, Stage)> {
    player.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("the demonstration panicked: {}", text.unwrap_or("without a word")))
    })
}

/// The clients that are wanted, or the best that there are.
fn kind(wanted: Option<Wanted>) -> Result<Kind> {
    if wanted == Some(Wanted::Rust) {
        return Ok(Kind::Own);
    }
    match python::find(|what| println!("{what}"))? {
        Some(python) => Ok(Kind::Stock(python)),
        None if wanted == Some(Wanted::Stock) => bail!("no Python here has ZEO, and none could be made"),
        None => {
            println!("no Python here has ZEO: the clients are those in Rust");
            Ok(Kind::Own)
        }
    }
}

/// Where everything is: beside the build, or, where that is too deep for sockets, in the system's temporary folder.
fn folder() -> Result<tempfile::TempDir> {
    let folder = place::scratch("demo")?;
    if folder.path().as_os_str().len() <= FOLDER_BYTES_MAX {
        return Ok(folder);
    }
    Ok(tempfile::Builder::new().prefix("standby-demo-").tempdir()?)
}

/// SIGINT and SIGTERM end it, and with it all processes.
fn give_up_on_signals(board: &Arc<Board>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let board = Arc::clone(board);
    let (mut interrupt, mut terminate) = {
        let _within = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                board.give_up();
            }
        });
    })?;
    Ok(())
}

/// Lets the cluster run on until the user has had enough.
fn keep(mut stage: Stage, admin: &Path, board: &Board) -> Result<()> {
    println!("{}", kept::text(&stage.nodes, admin));
    while !board.is_given_up() {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Ctrl-C reaches the nodes, too, which end by themselves then.
    stage.nodes.iter_mut().try_for_each(crate::cluster::Node::stop)?;
    println!("stopped, and removed");
    Ok(())
}

/// The ends of the nodes' logs.
fn logs(folder: &Path) -> String {
    let mut text = "it did not come to its end; the last that the nodes said:".to_owned();
    for name in stage::NAMES {
        let log = std::fs::read_to_string(folder.join(name).join("stderr.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(30)..];
        text.push_str(&format!("\n-- {name}\n{}", last.join("\n")));
    }
    text
}
