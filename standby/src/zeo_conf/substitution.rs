//! `$name`, `${name}`, `$(VARIABLE)` and `$$` in values.

use std::collections::HashMap;

use super::surroundings::Surroundings;

/// Longest value after substitution, in bytes: definitions that use each other could grow without end.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// What was defined by `%define`, by name in lower case. `None`: its value could not be made out, which has been
/// reported.
pub type Definitions = HashMap<String, Option<String>>;

/// Puts definitions and environment variables in place. `Ok(None)`: a definition that is used has no value, which
/// has been reported.
pub fn substitute(
    text: &str,
    definitions: &Definitions,
    surroundings: &dyn Surroundings,
) -> Result<Option<String>, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let (reference, after) = Reference::parse(after)?;
        rest = after;
        match reference {
            Reference::Dollar => result.push('$'),
            Reference::Definition(name) => match definitions.get(&name.to_ascii_lowercase()) {
                Some(Some(value)) => result.push_str(value),
                Some(None) => return Ok(None),
                None => {
                    return Err(format!(
                        "`${name}` is not defined: put `%define {name} VALUE` above this line"
                    ));
                }
            },
            Reference::Variable(name) => match surroundings.variable(name) {
                Some(value) => result.push_str(&value),
                None => return Err(format!("the environment variable {name} is not set")),
            },
        }
        if result.len() > VALUE_BYTES_MAX {
            return Err(format!("the value is longer than {VALUE_BYTES_MAX} bytes"));
        }
    }
    result.push_str(rest);
    Ok(Some(result))
}

enum Reference<'a> {
    Dollar,
    Definition(&'a str),
    Variable(&'a str),
}

impl<'a> Reference<'a> {
    /// Reads what follows a `$`; also gives the rest.
    fn parse(text: &'a str) -> Result<(Self, &'a str), String> {
        let enclosed = |text: &'a str, end: char| {
            let (name, rest) = split_name(text);
            rest.strip_prefix(end).filter(|_| !name.is_empty()).map(|rest| (name, rest))
        };
        match text.chars().next() {
            Some('$') => Ok((Self::Dollar, &text[1..])),
            Some('{') => enclosed(&text[1..], '}')
                .map(|(name, rest)| (Self::Definition(name), rest))
                .ok_or_else(|| "`${` must be followed by a name and `}`".to_owned()),
            Some('(') => {
                enclosed(&text[1..], ')').map(|(name, rest)| (Self::Variable(name), rest)).ok_or_else(|| {
                    "`$(` must be followed by the name of an environment variable and `)`".to_owned()
                })
            }
            _ => match split_name(text) {
                ("", _) => {
                    Err("a lone `$` must be written `$$`; before a name it stands for a definition"
                        .to_owned())
                }
                (name, rest) => Ok((Self::Definition(name), rest)),
            },
        }
    }
}

/// Whether `%define` can define it.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && split_name(text).1.is_empty()
}

/// The longest name at the start, which may be empty, and the rest.
fn split_name(text: &str) -> (&str, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return ("", text);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zeo_conf::test_surroundings::TestSurroundings;

    fn substituted(text: &str) -> Result<Option<String>, String> {
        let definitions = Definitions::from([
            ("instance".to_owned(), Some("/srv".to_owned())),
            ("money".to_owned(), Some("$5".to_owned())),
            ("unknown".to_owned(), None),
        ]);
        let surroundings = TestSurroundings::default().with_variable("Port", "8100");
        substitute(text, &definitions, &surroundings)
    }

    #[test]
    fn references_are_replaced_once() {
        let table = [
            ("plain", "plain"),
            ("$INSTANCE/var", "/srv/var"),
            ("${Instance}var", "/srvvar"),
            ("a$$b$$", "a$b$"),
            ("$money", "$5"),
            ("0.0.0.0:$(Port)", "0.0.0.0:8100"),
        ];
        for (text, result) in table {
            assert_eq!(substituted(text), Ok(Some(result.to_owned())), "{text:?}");
        }
        assert_eq!(substituted("x$unknown"), Ok(None));
    }

    #[test]
    fn what_refers_to_nothing_is_refused() {
        for text in
            ["$", "a $ b", "$1", "${}", "${instance", "${in stance}", "$()", "$(Port", "$(PORT)", "$nothing"]
        {
            assert!(substituted(text).is_err(), "{text:?}");
        }
    }
}
