use super::Value;

/// `ZopeUndo.Prefix`: how Zope asks for the transactions of one part of a site. Its instances equal every path
/// that begins with the elements they hold.
impl Value<'_> {
    /// The path elements of a `ZopeUndo.Prefix.Prefix`, as its pickle has them in the attribute `path`, or as its
    /// constructor would make them of a path.
    pub fn path_prefix(&self) -> Option<Vec<&str>> {
        let Self::Object { callable, args, state, .. } = self else { return None };
        let Self::Global { module, name } = &**callable else { return None };
        if (&**module, &**name) != ("ZopeUndo.Prefix", "Prefix") {
            return None;
        }
        match (state.as_deref(), &args[..]) {
            (Some(state), _) => state.item("path")?.as_sequence()?.iter().map(Value::as_str).collect(),
            (None, [path]) => Some(path.as_str()?.split('/').collect()),
            _ => None,
        }
    }

    /// Whether a value of a transaction is what this value, in the specification of `undoInfo`, asks for: an
    /// equal one, or for a prefix a path that begins with it. The user's name after a space does not count as
    /// part of the path's last element.
    pub fn matches(&self, candidate: &Value<'_>) -> bool {
        let Some(prefix) = self.path_prefix() else { return self == candidate };
        let path = match candidate {
            Value::Str(text) => &**text,
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => return false,
            },
            _ => return false,
        };
        let mut elements: Vec<&str> = path.split('/').collect();
        if let Some(last) = elements.last_mut()
            && let Some((element, _user)) = last.rsplit_once(' ')
        {
            *last = element;
        }
        elements.starts_with(&prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(elements: &[&'static str]) -> Value<'static> {
        let path = Value::List(elements.iter().map(|element| Value::from(*element)).collect());
        Value::Object {
            callable: Box::new(Value::Global { module: "ZopeUndo.Prefix".into(), name: "Prefix".into() }),
            args: vec![],
            state: Some(Box::new(Value::Dict(vec![
                ("length".into(), Value::Int(elements.len() as i64)),
                ("path".into(), path),
            ]))),
            new: true,
        }
    }

    #[test]
    fn a_prefix_matches_the_paths_that_begin_with_it() {
        let site = prefix(&["", "a", "b"]);
        for path in ["/a/b", "/a/b/c", "/a/b user", "/a/b/c user"] {
            assert!(site.matches(&path.into()), "{path}");
            assert!(site.matches(&Value::from(path.as_bytes())), "{path}");
        }
        for path in ["/a", "/a/bc", "/b/a/b", "", "/a /b"] {
            assert!(!site.matches(&path.into()), "{path}");
        }
        assert!(!site.matches(&Value::Int(1)));
    }

    #[test]
    fn other_values_match_their_equals() {
        assert!(Value::from("a").matches(&"a".into()));
        assert!(!Value::from("a").matches(&Value::from(b"a")));
    }
}
