//! Files, variables and directories of tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::surroundings::Surroundings;

/// What a test says there is. All directories are there, but those that are missing.
#[derive(Debug, Default)]
pub struct TestSurroundings {
    files: HashMap<PathBuf, String>,
    variables: HashMap<String, String>,
    missing: Vec<PathBuf>,
}

impl TestSurroundings {
    pub fn with_file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn without_directory(mut self, path: &str) -> Self {
        self.missing.push(path.into());
        self
    }
}

impl Surroundings for TestSurroundings {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn is_directory(&self, path: &Path) -> bool {
        !self.missing.iter().any(|missing| missing == path)
    }
}
