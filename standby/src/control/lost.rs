//! Saved files of lost transactions: which there are, what is in one, and the file itself.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{Json, Response};
use replica::{Dump, DumpRange, NoProgress, ReadError, Saved};
use standby_control::{LostAnswer, LostFile, LostState, WantedFile};
use tracing::{info, warn};

use super::caller::Caller;
use super::guard::from;
use super::operator::{By, Subjects};
use super::pieces::{self, PIECE_BYTES, Pieces};
use super::refusal::{Body, Refusal};
use super::{Subject, look};
use crate::failover::history::What;
use crate::listing;
use crate::world::fs::File;

pub(super) async fn list(State(subject): Subjects) -> Result<Json<LostAnswer>, Refusal> {
    look(subject, known).await.map(Json)
}

/// Lists the transactions of a file, as `standby dump --json` does.
pub(super) async fn show(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(wanted): Body<WantedFile>,
) -> Result<Response, Refusal> {
    let path = find(subject, &wanted.file, &caller).await?;
    pieces::answer("application/x-ndjson", move || {
        let dump = Dump::open(&path, DumpRange::default(), &NoProgress).map_err(io::Error::other)?;
        Ok(Transactions(dump))
    })
    .await
}

pub(super) async fn export(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(wanted): Body<WantedFile>,
) -> Result<Response, Refusal> {
    let path = find(subject, &wanted.file, &caller).await?;
    pieces::answer("application/octet-stream", move || File::open(&path)).await
}

/// Where a file is that this node has, and that this caller reads.
async fn find(subject: Arc<Subject>, wanted: &str, caller: &Caller) -> Result<PathBuf, Refusal> {
    let LostAnswer { node, files } = look(subject, known).await?;
    let refused = |status, reason| Err(Refusal(status, reason));
    let is_wanted = |file: &&LostFile| file.file == wanted || name(&file.file) == Some(wanted);
    match files.iter().find(is_wanted) {
        None => {
            refused(StatusCode::NOT_FOUND, format!("no saved file {wanted:?} is known: `lost` lists them"))
        }
        Some(LostFile { node: other, file, state: LostState::Elsewhere, .. }) => {
            refused(StatusCode::NOT_FOUND, format!("{file} is at node {other}, this is {node}: ask that one"))
        }
        Some(LostFile { file, state: LostState::Gone, .. }) => refused(
            StatusCode::NOT_FOUND,
            format!("{file} is not there any more: somebody has taken it away"),
        ),
        Some(LostFile { file, state: LostState::Here | LostState::Damaged, .. }) => {
            info!(%caller, from = from(caller), file, "an operator reads lost transactions");
            Ok(file.into())
        }
    }
}

fn name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}

/// What the cluster's history knows of, and what lies at this node and is older than that, or was never told.
fn known(subject: &Subject) -> Result<LostAnswer, ReadError> {
    let node = subject.config.borrow().node.name.clone();
    let mut own = Vec::new();
    for copy in subject.copies.values() {
        let saved = copy.service().storage().saved()?;
        own.extend(saved.into_iter().map(|saved| (copy.name().to_owned(), saved)));
    }
    let mut files = Vec::new();
    if let Some(decisions) = &subject.decisions {
        let history = decisions.known().borrow().history.clone();
        for happening in history.happenings() {
            let What::Lost { node: at, storage, transactions, file } = &happening.what else { continue };
            let here = own.iter().position(|(_, saved)| *at == node && path(saved) == *file);
            let here = here.map(|place| own.swap_remove(place).1);
            files.push(LostFile {
                at: happening.at_millis as f64 / 1000.0,
                node: at.clone(),
                storage: storage.clone(),
                transactions: *transactions,
                file: file.clone(),
                state: match &here {
                    Some(_) => LostState::Here,
                    None if *at == node => LostState::Gone,
                    None => LostState::Elsewhere,
                },
                blobs: here.and_then(|saved| blobs(&saved)),
            });
        }
    }
    for (storage, saved) in own {
        let (transactions, counted) = saved.count();
        if let Err(error) = &counted {
            warn!(%error, file = %saved.path.display(), "a file with lost transactions cannot be read to its end");
        }
        files.push(LostFile {
            at: saved.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            node: node.clone(),
            storage,
            transactions,
            file: path(&saved),
            state: if counted.is_ok() { LostState::Here } else { LostState::Damaged },
            blobs: blobs(&saved),
        });
    }
    files.sort_by(|one, other| one.at.total_cmp(&other.at));
    Ok(LostAnswer { node, files })
}

fn path(saved: &Saved) -> String {
    saved.path.display().to_string()
}

fn blobs(saved: &Saved) -> Option<String> {
    Some(saved.blobs()?.display().to_string())
}

/// A line of JSON for each transaction.
struct Transactions(Dump<'static>);

impl Pieces for Transactions {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(header) = self.0.next_transaction().map_err(io::Error::other)? else {
            return match self.0.unfinished_bytes() {
                0 => Ok(None),
                bytes => Err(io::Error::other(format!("{bytes} bytes at the end are no whole transaction"))),
            };
        };
        let mut listed = listing::transaction(&header);
        let records = self.0.records().map(|record| record.map(|record| listing::record(&record)));
        listed.records = records.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let mut line = serde_json::to_vec(&listed)?;
        line.push(b'\n');
        Ok(Some(line))
    }
}

impl Pieces for File {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        self.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        Ok((!piece.is_empty()).then_some(piece))
    }
}
