//! `docs/transcript.md`: what an operator types and what they are told, tried against a running cluster.
//!
//! The document is the script. A block of it that begins with ` ```console ` has commands, each behind `$ `, and below each what it
//! printed, with `[exit N]` where that was not 0. Between the blocks, a line such as `<!-- stage: kill b -->` says what else
//! happens ([`Stage`]). Every command is done again; what it prints must be as it stands there, but for what no two runs
//! have in common ([`shape`]).

mod document;
mod shape;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use self::document::{Document, Entry, Piece};
pub use self::shape::shape;
pub use self::stage::Stage;
use crate::place;

/// How often it is tried, where the machine stands still for so long that a lease ends.
const ATTEMPTS: usize = 4;
/// How long it may take until everybody knows what everybody does.
const SETTLING: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where the document is.
pub fn path() -> PathBuf {
    place::repository().join("docs/transcript.md")
}

/// The document as it stands.
///
/// # Errors
/// It cannot be read, or is not as it should be.
pub fn document() -> Result<Document> {
    let path = path();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Document::parse(&text)
}

/// Does what a document says. Returns it with what commands printed now, where that has another shape.
///
/// # Errors
/// What is to happen on the stage does not.
pub fn play(document: &Document) -> Result<Document> {
    for _ in 1..ATTEMPTS {
        let stage = Stage::new()?;
        let (stage, played) = perform(stage, document);
        if !stage.has_failed_over()? {
            stage.end()?;
            return played;
        }
        eprintln!(
            "this machine stood still for longer than a lease, and a node was promoted by itself: once more"
        );
    }
    perform(Stage::new()?, document).1
}

fn perform(mut stage: Stage, document: &Document) -> (Stage, Result<Document>) {
    let mut played = document.clone();
    let mut last = String::new();
    let mut perform = |piece: &mut Piece| {
        match piece {
            Piece::Text(_) => {}
            Piece::Direction(direction) => {
                stage
                    .direct(direction)
                    .with_context(|| format!("<!-- stage: {direction} --> after\n{last}"))?;
            }
            Piece::Block(entries) => {
                last.clear();
                for entry in entries {
                    let output = again(&stage, entry)?;
                    last.push_str(&format!("$ {}\n{output}", entry.command));
                    if shape(&output) != shape(&entry.output) {
                        entry.output = output;
                    }
                }
            }
        }
        Ok(())
    };
    let performed = played.pieces.iter_mut().try_for_each(&mut perform);
    (stage, performed.map(|()| played))
}

/// Runs a command. One that only looks is run again where it prints something else than what stands: what it tells of takes some
/// time to be known everywhere.
fn again(stage: &Stage, entry: &Entry) -> Result<String> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let output = stage.run(&entry.command)?;
        let is_new = entry.output.is_empty();
        if is_new
            || !entry.only_looks()
            || shape(&output) == shape(&entry.output)
            || Instant::now() > deadline
        {
            return Ok(output);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// What differs, command by command, for people; empty where nothing does.
pub fn difference(stands: &Document, played: &Document) -> String {
    let mut text = String::new();
    for (old, new) in stands.entries().zip(played.entries()).filter(|(old, new)| old.output != new.output) {
        text.push_str(&format!("\n$ {}\n", new.command));
        let (old, new): (Vec<&str>, Vec<&str>) = (old.output.lines().collect(), new.output.lines().collect());
        let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| {
            pairs.take_while(|(old, new)| shape(old) == shape(new)).count()
        };
        let begin = same(&mut old.iter().zip(&new));
        let end = same(&mut old[begin..].iter().rev().zip(new[begin..].iter().rev()));
        let mut lines = |mark: &str, lines: &[&str]| {
            for line in lines {
                text.push_str(&format!("{mark} {line}\n"));
            }
        };
        lines(" ", &new[..begin]);
        lines("-", &old[begin..old.len() - end]);
        lines("+", &new[begin..new.len() - end]);
        lines(" ", &new[new.len() - end..]);
    }
    text
}

/// Checks the document that stands, or writes it anew.
///
/// # Errors
/// It differs: in what; or it cannot be tried.
pub fn run(write: bool) -> Result<()> {
    let stands = document()?;
    let played = play(&stands)?;
    let difference = difference(&stands, &played);
    if write {
        std::fs::write(path(), played.text())?;
        println!("{}", if difference.is_empty() { "nothing has changed".to_owned() } else { difference });
        return Ok(());
    }
    ensure!(
        difference.is_empty(),
        "docs/transcript.md says (-) something else than what is printed now (+):\n{difference}\n\
         if that is meant: cargo run -p standby-testbed -- transcript --write"
    );
    Ok(())
}
