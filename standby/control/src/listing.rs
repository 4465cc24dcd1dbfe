//! Transactions of a file as they are listed, for people and for programs.

use serde::{Deserialize, Serialize};

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTransaction {
    /// Its tid, 16 hexadecimal digits.
    pub tid: String,
    /// When it was, in UTC; `None`: its tid is no time.
    pub time: Option<String>,
    /// `committed`, `undone` or `packed`.
    pub status: String,
    /// Who committed it.
    pub user: String,
    /// What they said of it.
    pub description: String,
    /// Where it begins in the file, in bytes.
    pub position: u64,
    /// Its length, in bytes.
    pub size: u64,
    /// What it wrote.
    pub records: Vec<ListedRecord>,
}

/// What a transaction wrote of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRecord {
    /// The object's oid.
    pub oid: String,
    /// Where the record begins in the file, in bytes.
    pub position: u64,
    /// How long the object's state is, in bytes; `None`: the object was deleted, or its creation undone.
    pub size: Option<u64>,
    /// The object's class, `module.name`; `None`: it is not known.
    pub class: Option<String>,
    /// The revision that this one is the same as.
    pub data_tid: Option<String>,
    /// It is a blob.
    pub blob: bool,
}

impl ListedTransaction {
    /// A line of text. What people wrote is shown with escapes: it must not steer a terminal.
    pub fn line(&self) -> String {
        let Self { tid, status, position, size, user, description, .. } = self;
        let time = self.time.as_deref().unwrap_or("(no time)");
        format!("{tid} {time} {status} at {position}, {size} bytes, user {user:?}, {description:?}")
    }
}

impl ListedRecord {
    /// A line of text, as that of a transaction.
    pub fn line(&self) -> String {
        let class = self.class.as_deref();
        let class = class.map_or_else(|| "(no class)".to_owned(), |class| class.escape_debug().to_string());
        let what = match self.size {
            Some(size) => format!("{size:>9} bytes  {class}"),
            None => "  deleted, or its creation undone".to_owned(),
        };
        let blob = if self.blob { ", a blob" } else { "" };
        let back = self.data_tid.as_ref().map_or_else(String::new, |tid| format!(", as in {tid}"));
        format!("{:<10} {what}{blob}{back}", self.oid)
    }
}
