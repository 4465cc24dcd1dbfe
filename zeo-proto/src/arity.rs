use crate::method::Method;

/// The text of Python's `TypeError` when a method cannot take `given` arguments; `None` when it can. The object
/// that the method belongs to is an argument too, in Python's count of what it takes and was given.
pub(crate) fn error_text(method: &Method, given: usize) -> Option<String> {
    let (least, most) = (method.required(), method.parameters.len());
    let (class, name) = (method.class, method.name);
    if given < least {
        let missing: Vec<_> =
            method.parameters[given..least].iter().map(|parameter| format!("'{}'", parameter.name)).collect();
        let plural = if missing.len() == 1 { "" } else { "s" };
        let count = missing.len();
        let names = enumeration(&missing);
        return Some(format!(
            "{class}.{name}() missing {count} required positional argument{plural}: {names}"
        ));
    }
    if given > most {
        let given = given + 1;
        let takes = if least == most {
            let plural = if most == 0 { "" } else { "s" };
            format!("{} positional argument{plural}", most + 1)
        } else {
            format!("from {} to {} positional arguments", least + 1, most + 1)
        };
        return Some(format!("{class}.{name}() takes {takes} but {given} were given"));
    }
    None
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn enumeration(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of Python 3.11.
    #[test]
    fn a_wrong_number_of_arguments_is_told_in_pythons_words() {
        for (name, given, text) in [
            ("loadBefore", 1, "ZEOStorage.loadBefore() missing 1 required positional argument: 'tid'"),
            (
                "loadBefore",
                0,
                "ZEOStorage.loadBefore() missing 2 required positional arguments: 'oid' and 'tid'",
            ),
            (
                "storea",
                1,
                "ZEOStorage.storea() missing 3 required positional arguments: 'serial', 'data', and 'id'",
            ),
            ("ping", 1, "ZEOStorage.ping() takes 1 positional argument but 2 were given"),
            ("vote", 3, "ZEOStorage.vote() takes 2 positional arguments but 4 were given"),
            (
                "tpc_begin",
                7,
                "ZEOStorage.tpc_begin() takes from 5 to 7 positional arguments but 8 were given",
            ),
            ("new_oids", 2, "ZEOStorage.new_oids() takes from 1 to 2 positional arguments but 3 were given"),
            ("getTid", 0, "FileStorage.getTid() missing 1 required positional argument: 'oid'"),
        ] {
            let method = Method::named(name).expect("in the table");
            assert_eq!(error_text(method, given).as_deref(), Some(text));
        }
    }

    #[test]
    fn optional_arguments_may_be_left_out() {
        let tpc_begin = Method::named("tpc_begin").expect("in the table");
        for given in 4..=6 {
            assert_eq!(error_text(tpc_begin, given), None);
        }
    }
}
