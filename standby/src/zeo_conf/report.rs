//! What is to be said about a file: mistakes, which refuse it, and notes, which are logged.

use std::fmt;
use std::path::{Path, PathBuf};

/// Mistakes that are printed; a file with more of them is no `zeo.conf`.
const SHOWN_MAX: usize = 50;

/// A line of one of the files read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Which file, in the order in which they were opened.
    file: usize,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
}

impl Place {
    /// Line `line` of the same file.
    pub fn at_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The line, from 1.
    pub fn line(self) -> usize {
        self.line
    }
}

/// Collects what is found while files are read and understood.
#[derive(Debug, Default)]
pub struct Report {
    files: Vec<PathBuf>,
    mistakes: Vec<(Place, String)>,
    notes: Vec<(Place, String)>,
}

impl Report {
    /// Another file is read; the place is the file as a whole.
    pub fn open_file(&mut self, path: &Path) -> Place {
        self.files.push(path.to_owned());
        Place { file: self.files.len() - 1, line: 0 }
    }

    /// The number of files that were read.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Something that cannot be understood or honoured.
    pub fn mistake(&mut self, place: Place, text: impl Into<String>) {
        self.mistakes.push((place, text.into()));
    }

    /// Something that is accepted, and that an operator should know.
    pub fn note(&mut self, place: Place, text: impl Into<String>) {
        self.notes.push((place, text.into()));
    }

    /// The value with the notes, one line each, or all mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<String>), Mistakes> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok((value, lines(&self.files, self.notes))),
            _ => {
                assert!(!self.mistakes.is_empty(), "a file was refused without a reason");
                Err(Mistakes { path: self.files[0].clone(), lines: lines(&self.files, self.mistakes) })
            }
        }
    }
}

fn lines(files: &[PathBuf], mut remarks: Vec<(Place, String)>) -> Vec<String> {
    remarks.sort_by_key(|(place, _)| *place);
    remarks
        .into_iter()
        .map(|(place, text)| match (files[place.file].display(), place.line) {
            (path, 0) => format!("{path}: {text}"),
            (path, line) => format!("{path}:{line}: {text}"),
        })
        .collect()
}

/// Why a configuration file is refused: everything that was found, in the order of its lines.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Mistakes {
    path: PathBuf,
    lines: Vec<String>,
}

impl Mistakes {
    /// One line each: file, line number, what is wrong and what to do.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.lines.len() {
            1 => "1 mistake".to_owned(),
            count => format!("{count} mistakes"),
        };
        write!(f, "{} cannot be served as it is ({count}):", self.path.display())?;
        for line in self.lines.iter().take(SHOWN_MAX) {
            write!(f, "\n  {line}")?;
        }
        match self.lines.len().checked_sub(SHOWN_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  and {more} more"),
        }
    }
}
