//! One line of a file in ZConfig's grammar.
//!
//! | line | what |
//! |---|---|
//! | empty, or `# ...` | nothing; a comment starts only at the start of a line |
//! | `<type>`, `<type name>` | a section starts |
//! | `<type/>`, `<type name />` | an empty section |
//! | `</type>` | the section ends |
//! | `%define name value`, `%include file`, `%import package` | a directive |
//! | `key value` | everything after the key is the value, without the spaces around it |
//!
//! Section types and names are compared without regard to case, and given here in lower case.

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// Nothing.
    Blank,
    /// A section starts; `empty` ones end at once.
    Start { kind: String, name: Option<String>, empty: bool },
    /// A section ends.
    End { kind: String },
    /// A directive, without its `%`. The argument may be empty.
    Directive { name: &'a str, argument: &'a str },
    /// A key and its value, which may be empty.
    KeyValue { key: &'a str, value: &'a str },
}

/// A line that is not of the grammar: what is wrong, and what was probably meant, so that the lines after it can be
/// understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed<'a> {
    /// What is wrong.
    pub text: String,
    /// What to go on with.
    pub meant: Line<'a>,
}

impl<'a> Line<'a> {
    /// Reads a line, with or without its end.
    pub fn parse(line: &'a str) -> Result<Self, Malformed<'a>> {
        let line = line.trim_matches(is_space);
        match line.as_bytes() {
            [] | [b'#', ..] => Ok(Line::Blank),
            [b'<', b'/', ..] => section_end(&line[2..]),
            [b'<', ..] => section_start(&line[1..]),
            [b'%', ..] => match split_key(&line[1..]) {
                Some((name, argument)) => Ok(Line::Directive { name, argument }),
                None => Err(Malformed {
                    text: "`%` must be followed by `define`, `include` or `import`".to_owned(),
                    meant: Line::Blank,
                }),
            },
            _ => match split_key(line) {
                Some((key, value)) => Ok(Line::KeyValue { key, value }),
                None => {
                    Err(Malformed { text: "a key cannot start like this".to_owned(), meant: Line::Blank })
                }
            },
        }
    }
}

fn section_end(rest: &str) -> Result<Line<'_>, Malformed<'_>> {
    let kind = |rest: &str| Line::End { kind: rest.trim_end_matches(is_space).to_lowercase() };
    match rest.strip_suffix('>') {
        Some(rest) => Ok(kind(rest)),
        None => {
            Err(Malformed { text: "the end of a section is written `</type>`".to_owned(), meant: kind(rest) })
        }
    }
}

fn section_start(rest: &str) -> Result<Line<'_>, Malformed<'_>> {
    let (inner, closed) = match rest.strip_suffix('>') {
        Some(inner) => (inner, true),
        None => (rest, false),
    };
    let (inner, empty) = match inner.strip_suffix('/') {
        Some(inner) if closed => (inner, true),
        _ => (inner, false),
    };
    let mut words = inner.split(is_space).filter(|word| !word.is_empty());
    let kind = words.next().unwrap_or_default().to_lowercase();
    let name = words.next().map(str::to_lowercase);
    let well_formed = closed
        && !kind.is_empty()
        && words.next().is_none()
        && !inner.starts_with(is_space)
        && !inner.contains(['(', ')']);
    let line = Line::Start { kind, name, empty };
    if well_formed {
        return Ok(line);
    }
    let text = "the start of a section is written `<type>` or `<type name>`, where a name has no spaces or parentheses";
    Err(Malformed { text: text.to_owned(), meant: line })
}

/// The first word and the rest. A word has no spaces and no parentheses.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c| is_space(c) || c == '(' || c == ')').unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    (!key.is_empty()).then(|| (key, rest.trim_start_matches(is_space)))
}

/// What Python's `str.strip` takes for a space: what Unicode does, and four control characters.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(kind: &str, name: Option<&str>, empty: bool) -> Line<'static> {
        Line::Start { kind: kind.to_owned(), name: name.map(str::to_owned), empty }
    }

    #[test]
    fn each_kind_of_line_is_recognised() {
        let end = |kind: &str| Line::End { kind: kind.to_owned() };
        let table = [
            ("", Line::Blank),
            ("  \t\r", Line::Blank),
            ("# <zeo>", Line::Blank),
            ("<zeo>", start("zeo", None, false)),
            (" <FileStorage  Main >\r", start("filestorage", Some("main"), false)),
            ("<zeo/>", start("zeo", None, true)),
            ("<mappingstorage 1 />", start("mappingstorage", Some("1"), true)),
            ("<a/b>", start("a/b", None, false)),
            ("</ZEO >", end("zeo")),
            ("</>", end("")),
            ("%define A  b c", Line::Directive { name: "define", argument: "A  b c" }),
            ("%include", Line::Directive { name: "include", argument: "" }),
            ("path  /a b # c ", Line::KeyValue { key: "path", value: "/a b # c" }),
            ("blob-dir", Line::KeyValue { key: "blob-dir", value: "" }),
            ("path(x)", Line::KeyValue { key: "path", value: "(x)" }),
        ];
        for (text, line) in table {
            assert_eq!(Line::parse(text), Ok(line), "{text:?}");
        }
    }

    #[test]
    fn a_malformed_line_says_what_was_meant() {
        let table = [
            ("<zeo", start("zeo", None, false)),
            ("< zeo>", start("zeo", None, false)),
            ("<filestorage a b>", start("filestorage", Some("a"), false)),
            ("<>", start("", None, false)),
            ("<zeo (1)>", start("zeo", Some("(1)"), false)),
            ("</zeo", Line::End { kind: "zeo".to_owned() }),
            ("% define A b", Line::Blank),
            ("(key) value", Line::Blank),
        ];
        for (text, line) in table {
            assert_eq!(Line::parse(text).expect_err(text).meant, line, "{text:?}");
        }
    }
}
