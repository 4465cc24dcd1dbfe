use crate::DecodeError;

/// Which classes and functions a pickle may name. They are only ever names here; a pickle that names any other
/// is refused because its sender means something that data cannot say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Globals {
    /// In requests: those of the modules that the stock server allows (`ZEO/asyncio/marshal.py`).
    Requests,
    /// In what is stored: the same, and what Python before protocol 3 writes bytes with.
    Stored,
    /// In what a server sends: any, its exceptions among them.
    Replies,
}

const REQUEST_MODULES: [&str; 5] = ["ZopeUndo.Prefix", "zodbpickle", "builtins", "copy_reg", "__builtin__"];

impl Globals {
    pub(crate) fn check(self, module: &str, name: &str) -> Result<(), DecodeError> {
        let accepted = match self {
            Self::Requests => REQUEST_MODULES.contains(&module),
            Self::Stored => {
                REQUEST_MODULES.contains(&module)
                    || matches!((module, name), ("_codecs", "encode") | ("copyreg", _))
            }
            Self::Replies => true,
        };
        // A line end in a name would break out of the opcode when the name is written again.
        let is_name = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if accepted && is_name(module) && is_name(name) {
            return Ok(());
        }
        Err(DecodeError::Global { module: module.into(), name: name.into() })
    }
}
