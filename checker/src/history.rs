use std::io::BufRead;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zodb_types::{Oid, Tid};

use crate::hex;

/// What one client did and was told, in its order. It had one transaction at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The client's name.
    pub client: String,
    /// Its operations.
    pub entries: Vec<Entry>,
}

/// An operation with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in microseconds of a clock that all clients share and that never goes back: of a call, before it was sent; of
    /// an answer, after it came. Without it nothing is said about what came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub operation: Operation,
}

/// What a client did, or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// From now on it reads as of one moment.
    Begin {
        /// Everything before this transaction is seen. The one before it is the last that the client knew of.
        #[serde(with = "hex")]
        start: Tid,
    },
    /// It has read an object as of that moment.
    Read {
        /// The object.
        #[serde(with = "hex")]
        oid: Oid,
        /// Its revision; `null` if there was no such object.
        #[serde(with = "hex::optional")]
        serial: Option<Tid>,
        /// The value in it.
        value: Option<String>,
    },
    /// It asks for these to be committed. Without an outcome behind it, that is unknown.
    Commit {
        /// What is written: each object once.
        writes: Vec<Write>,
    },
    /// What became of that.
    Outcome(Outcome),
    /// It was told that others have changed these.
    Invalidated {
        /// The transaction.
        #[serde(with = "hex")]
        tid: Tid,
        /// The objects.
        #[serde(with = "hex::list")]
        oids: Vec<Oid>,
    },
    /// It is connected, and its cache is as the server says.
    Reconnected {
        /// The last transaction that the server told it of.
        #[serde(with = "hex")]
        tid: Tid,
    },
}

/// A value that a client wants to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The object.
    #[serde(with = "hex")]
    pub oid: Oid,
    /// The revision that this is based on; `null` for a new object.
    #[serde(with = "hex::optional")]
    pub base: Option<Tid>,
    /// The value, which nobody ever writes to this object again.
    pub value: String,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is committed: acknowledged with this tid.
    Committed(#[serde(with = "hex")] Tid),
    /// It is not committed: a conflict, or a connection that was lost before.
    Refused,
    /// The client cannot tell.
    Unknown,
}

/// What a storage has of a transaction, or had of one that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its number.
    #[serde(with = "hex")]
    pub tid: Tid,
    /// What it has written.
    pub writes: Vec<Stored>,
    /// Of the first one of a new primary, where that is told: the transaction that it follows. Others that come between
    /// the two by their tids were lost then.
    #[serde(default, with = "hex::optional", skip_serializing_if = "Option::is_none")]
    pub follows: Option<Tid>,
}

/// A revision in a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The object.
    #[serde(with = "hex")]
    pub oid: Oid,
    /// The value; `null` for an object without one, of which nothing is required but its order.
    pub value: Option<String>,
}

/// A line is not what it should be.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("line {line}: {error}")]
    Io {
        /// Its number, from 1.
        line: usize,
        /// Why.
        error: std::io::Error,
    },
    /// It says something else.
    #[error("line {line}: {error}")]
    Json {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
}

/// Reads JSON lines: of [`Entry`], or of [`Transaction`]. A last line without its end was cut off when its writer died,
/// and is left out if it makes no sense.
///
/// # Errors
/// A line cannot be read, or makes no sense.
pub fn read_lines<T: DeserializeOwned>(mut input: impl BufRead) -> Result<Vec<T>, ReadError> {
    let (mut lines, mut text) = (Vec::new(), String::new());
    for line in 1.. {
        text.clear();
        if input.read_line(&mut text).map_err(|error| ReadError::Io { line, error })? == 0 {
            break;
        }
        match serde_json::from_str(&text) {
            Ok(read) => lines.push(read),
            Err(_) if !text.ends_with('\n') => {}
            Err(error) => return Err(ReadError::Json { line, error }),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_a_line_of_json() {
        let lines = r#"{"at":17,"begin":{"start":"0000000000000006"}}
{"read":{"oid":"0000000000000001","serial":"0000000000000005","value":"a 3"}}
{"read":{"oid":"0000000000000002","serial":null,"value":null}}
{"commit":{"writes":[{"oid":"0000000000000001","base":null,"value":"b 1"}]}}
{"outcome":{"committed":"0000000000000007"}}
{"outcome":"unknown"}
{"invalidated":{"tid":"0000000000000008","oids":["0000000000000001"]}}
{"reconnected":{"tid":"0000000000000009"}}
"#;
        let entries: Vec<Entry> = read_lines(lines.as_bytes()).expect("entries");
        assert_eq!(entries[0].at, Some(17));
        assert_eq!(entries[4].operation, Operation::Outcome(Outcome::Committed(Tid::new(7))));
        let written: String =
            entries.iter().map(|entry| serde_json::to_string(entry).expect("plain data") + "\n").collect();
        assert_eq!(written, lines);
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_one_that_is_wrong_is_named() {
        let whole = r#"{"outcome":"refused"}"#;
        let cut = format!("{whole}\n{}", &whole[..9]);
        assert_eq!(read_lines::<Entry>(cut.as_bytes()).expect("one entry").len(), 1);
        let wrong = format!("{whole}\nnonsense\n{whole}\n");
        let error = read_lines::<Entry>(wrong.as_bytes()).expect_err("it is wrong");
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
