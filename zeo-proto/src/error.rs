use thiserror::Error;

/// A message that cannot be understood. The peer is at fault, and the stock server's answer is to close the
/// connection without a word.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the message ends in the middle of a value")]
    Truncated,
    /// The value is over and bytes are left.
    #[error("{0} bytes follow the end of the message")]
    TrailingBytes(usize),
    /// A pickle opcode or a msgpack marker that is unknown, or not allowed here.
    #[error("byte {0:#04x} is not a kind of value that is accepted")]
    Unsupported(u8),
    /// An opcode that finds the wrong things on the pickle stack, or a reference to nothing.
    #[error("malformed pickle: {0}")]
    Malformed(&'static str),
    /// Text that is not UTF-8, or a number that is not one.
    #[error("malformed {0}")]
    Text(&'static str),
    /// A class or function that messages may not name.
    #[error("the global {module}.{name} is not accepted")]
    Global {
        /// Its module.
        module: String,
        /// Its name in the module.
        name: String,
    },
    /// A dictionary with a key that Python could not hash.
    #[error("a dictionary key is not hashable")]
    UnhashableKey,
    /// Nested deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("values nest too deeply")]
    TooDeep,
    /// More values than [`Limits::max_items`](crate::Limits::max_items).
    #[error("too many values")]
    TooManyItems,
    /// A fine value, but not (message id, flag, method name, arguments).
    #[error("not a message: {0}")]
    NotAMessage(&'static str),
}
