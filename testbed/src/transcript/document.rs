use anyhow::{Result, bail, ensure};

const BEGIN: &str = "```console";
const END: &str = "```";
const PROMPT: &str = "$ ";

/// A document with commands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Lines for people.
    Text(String),
    /// What happens besides what the operator does.
    Direction(String),
    /// Commands.
    Block(Vec<Entry>),
}

/// A command, and what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For a shell.
    pub command: String,
    /// Lines, each with its end.
    pub output: String,
}

impl Document {
    /// Of its text.
    ///
    /// # Errors
    /// A block does not end, or has something before its first command.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if let Some(direction) = direction(line) {
                pieces.push(Piece::Direction(direction.to_owned()));
            } else if line == BEGIN {
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    let Some((at, line)) = lines.next() else {
                        bail!("line {}: the block does not end", number + 1);
                    };
                    if line == END {
                        break;
                    }
                    match (line.strip_prefix(PROMPT), entries.last_mut()) {
                        (Some(command), _) => {
                            entries.push(Entry { command: command.to_owned(), output: String::new() });
                        }
                        (None, Some(entry)) => entry.output.extend([line, "\n"]),
                        (None, None) => bail!("line {}: output of no command", at + 1),
                    }
                }
                ensure!(!entries.is_empty(), "line {}: no command", number + 1);
                pieces.push(Piece::Block(entries));
            } else if let Some(Piece::Text(text)) = pieces.last_mut() {
                text.extend([line, "\n"]);
            } else {
                pieces.push(Piece::Text(format!("{line}\n")));
            }
        }
        Ok(Self { pieces })
    }

    /// As text.
    pub fn text(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Direction(direction) => format!("<!-- stage: {direction} -->\n"),
            Piece::Block(entries) => {
                let entry = |Entry { command, output }: &Entry| format!("{PROMPT}{command}\n{output}");
                format!("{BEGIN}\n{}{END}\n", entries.iter().map(entry).collect::<String>())
            }
        };
        self.pieces.iter().map(piece).collect()
    }

    /// All its commands.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Block(entries) => &entries[..],
            Piece::Text(_) | Piece::Direction(_) => &[],
        })
    }
}

impl Entry {
    /// Whether the command changes nothing: what it prints may be another soon.
    pub fn only_looks(&self) -> bool {
        let words: Vec<&str> = self.command.split_whitespace().collect();
        ["status", "history", "lost"].iter().any(|verb| words.contains(verb)) && !words.contains(&"export")
    }
}

fn direction(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- stage: ")?.strip_suffix(" -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n<!-- stage: kill b -->\n```console\n$ one\n$ two\nit said\n\nthis\n[exit 1]\n```\nand on\n";

    #[test]
    fn a_document_is_read_and_written_as_it_is() {
        let document = Document::parse(TEXT).expect("a document");
        assert_eq!(document.text(), TEXT);
        assert_eq!(document.pieces[1], Piece::Direction("kill b".into()));
        let [one, two] = document.entries().collect::<Vec<_>>()[..] else { panic!("two commands") };
        assert_eq!((one.command.as_str(), one.output.as_str()), ("one", ""));
        assert_eq!((two.command.as_str(), two.output.as_str()), ("two", "it said\n\nthis\n[exit 1]\n"));
        let told = |text: &str| Document::parse(text).expect_err("it is none").to_string();
        assert_eq!(told("a\n```console\n$ one\n"), "line 2: the block does not end");
        assert_eq!(told("```console\nout\n```\n"), "line 2: output of no command");
    }
}
