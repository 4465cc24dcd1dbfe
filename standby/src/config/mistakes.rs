//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `FILE:LINE:COLUMN`, or the environment variable.
    pub place: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Mistake { place, text }) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{place}: {text}")?;
        }
        Ok(())
    }
}

/// Where values came from: the text, and behind its end, one position for each variable.
pub(super) struct Sources<'a> {
    path: &'a str,
    text: &'a str,
    variables: &'a [(String, String)],
}

impl<'a> Sources<'a> {
    pub(super) fn new(path: &'a str, text: &'a str, variables: &'a [(String, String)]) -> Self {
        Self { path, text, variables }
    }

    /// The position that stands for a variable.
    pub(super) fn of_variable(&self, index: usize) -> Range<usize> {
        let position = self.text.len() + 1 + index;
        position..position
    }

    /// The place as people know it; lines and columns count from 1, columns in characters.
    pub(super) fn place(&self, position: usize) -> String {
        if let Some(index) = position.checked_sub(self.text.len() + 1) {
            return self.variables[index].0.clone();
        }
        let before = &self.text[..self.text.floor_char_boundary(position)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        format!("{}:{line}:{column}", self.path)
    }
}
