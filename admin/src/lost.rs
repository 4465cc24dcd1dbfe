//! `standby-admin lost`: transactions that were lost in failovers, and were saved.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use standby_control::{ListedTransaction, LostAnswer, LostFile, LostState, WantedFile};
use tempfile::NamedTempFile;

use crate::client::Client;
use crate::style::attention;
use crate::table::{aligned, header};
use crate::units::moment;

/// All files, as text.
pub fn shown(answer: &LostAnswer) -> String {
    if answer.files.is_empty() {
        return "nothing that is known of was lost\n".to_owned();
    }
    let mut rows = vec![header(["", "saved", "node", "storage", "transactions", "file"])];
    for (number, saved) in (1..).zip(&answer.files) {
        let LostFile { at, node, storage, transactions, file, state, blobs } = saved;
        let with_blobs = if blobs.is_some() { ", with blobs" } else { "" };
        let wrong = match state {
            LostState::Gone => attention(": TAKEN AWAY"),
            LostState::Damaged => attention(": DAMAGED"),
            LostState::Here | LostState::Elsewhere => String::new(),
        };
        let number = format!("{number}");
        let transactions = transactions.to_string();
        let file = format!("{file}{wrong}{with_blobs}");
        rows.push([number, moment(*at), node.clone(), storage.clone(), transactions, file]);
    }
    aligned(&rows, 6)
}

/// The file that is meant: by its number in the list, by its path, or by its name.
///
/// # Errors
/// There is none, or another node has it.
pub fn wanted(answer: &LostAnswer, meant: &str) -> Result<WantedFile> {
    let LostAnswer { node, files } = answer;
    let Ok(number) = meant.parse::<usize>() else { return Ok(WantedFile { file: meant.to_owned() }) };
    let Some(found) = number.checked_sub(1).and_then(|place| files.get(place)) else {
        match files.len() {
            0 => bail!("there is no file {number}: nothing that is known of was lost"),
            count => bail!("there is no file {number}: `lost` lists {count}"),
        }
    };
    if found.state == LostState::Elsewhere {
        let at = &found.node;
        bail!("file {number} is at node {at}, and {node} was asked: ask {at}, with --admin");
    }
    Ok(WantedFile { file: found.file.clone() })
}

/// Writes what is in a file, as it comes: text, or a line of JSON for each transaction.
///
/// # Errors
/// The node cannot be reached, or has no such file; or `out` cannot be written to.
pub async fn show(client: &Client, wanted: &WantedFile, json: bool, out: &mut dyn Write) -> Result<()> {
    let mut begun = Vec::new();
    let listed = client.show_lost(wanted, |piece| {
        begun.extend_from_slice(piece);
        let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let lines: Vec<u8> = begun.drain(..=end).collect();
        if json {
            return Ok(out.write_all(&lines)?);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let transaction: ListedTransaction =
                serde_json::from_slice(line).context("the node answers something else")?;
            writeln!(out, "{}", transaction.line())?;
            for record in &transaction.records {
                writeln!(out, "  {}", record.line())?;
            }
        }
        Ok(())
    });
    listed.await
}

/// Copies a file to this machine; returns its length in bytes. It appears under its name when it is complete.
///
/// # Errors
/// The node cannot be reached, or has no such file; or there is something at `to` already, or it cannot be written.
pub async fn export(client: &Client, wanted: &WantedFile, to: &Path) -> Result<u64> {
    let cannot = || format!("cannot write {}", to.display());
    if to.exists() {
        bail!("{} exists already, and is left as it is", to.display());
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = NamedTempFile::new_in(folder).with_context(cannot)?;
    let mut length = 0;
    let copied = client.export_lost(wanted, |piece| {
        length += piece.len() as u64;
        part.write_all(piece).with_context(cannot)
    });
    copied.await?;
    part.as_file().sync_all().with_context(cannot)?;
    part.persist_noclobber(to).map_err(|failed| failed.error).with_context(cannot)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::plain;

    fn answer() -> LostAnswer {
        let file = |node: &str, state| LostFile {
            at: 1.5,
            node: node.into(),
            storage: "1".into(),
            transactions: 7,
            file: format!("/var/{node}.fs"),
            state,
            blobs: None,
        };
        let states = [LostState::Here, LostState::Elsewhere, LostState::Gone, LostState::Damaged];
        let files =
            ["a", "b", "a", "a"].into_iter().zip(states).map(|(node, state)| file(node, state)).collect();
        LostAnswer { node: "a".into(), files }
    }

    #[test]
    fn each_file_has_a_number_and_one_that_was_taken_away_is_marked() {
        assert_eq!(
            plain(&shown(&answer())),
            "\x20    saved                    node  storage  transactions  file\n\
             \x20 1  1970-01-01 00:00:01 UTC  a     1        7             /var/a.fs\n\
             \x20 2  1970-01-01 00:00:01 UTC  b     1        7             /var/b.fs\n\
             \x20 3  1970-01-01 00:00:01 UTC  a     1        7             /var/a.fs: TAKEN AWAY\n\
             \x20 4  1970-01-01 00:00:01 UTC  a     1        7             /var/a.fs: DAMAGED\n"
        );
    }

    #[test]
    fn a_file_is_meant_by_its_number_or_its_name() {
        let told = |meant: &str| match wanted(&answer(), meant) {
            Ok(WantedFile { file }) => file,
            Err(error) => error.to_string(),
        };
        assert_eq!(told("1"), "/var/a.fs");
        assert_eq!(told("x.fs"), "x.fs");
        assert_eq!(told("2"), "file 2 is at node b, and a was asked: ask b, with --admin");
        assert_eq!(told("0"), "there is no file 0: `lost` lists 4");
        assert_eq!(told("5"), "there is no file 5: `lost` lists 4");
    }
}
