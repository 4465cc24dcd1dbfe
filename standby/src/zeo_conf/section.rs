//! The sections and keys of a file, before anything is known of their meaning.

use std::fmt;

use super::report::Place;

/// A section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its type, in lower case; empty for the whole of a file.
    pub kind: String,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// Where it starts.
    pub place: Place,
    /// Its keys, in order.
    pub keys: Vec<Key>,
    /// The sections in it, in order.
    pub sections: Vec<Section>,
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its name, in lower case.
    pub name: String,
    /// Its value after substitution; `None` where that could not be made out, which has been reported.
    pub value: Option<String>,
    /// Where it stands.
    pub place: Place,
}

impl Section {
    /// An empty one.
    pub fn new(kind: String, name: Option<String>, place: Place) -> Self {
        Self { kind, name, place, keys: Vec::new(), sections: Vec::new() }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "<{} {name}>", self.kind),
            None => write!(f, "<{}>", self.kind),
        }
    }
}
