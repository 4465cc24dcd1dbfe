mod convert;
mod prefix;
mod repr;

pub(crate) use convert::from_twos_complement;

use std::borrow::Cow;

use crate::{Oid, Tid};

/// Data as both encodings carry it. Bytes and text are borrowed from the message where it holds them verbatim.
///
/// msgpack knows one kind of sequence and no classes: its arrays are read as [`Value::Tuple`], lists and tuples
/// are both written as arrays, and [`Value::Global`] and [`Value::Object`] cannot be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A number that fits 64 bits with its sign. Decoders give every such number in this form.
    Int(i64),
    /// Any other whole number: two's complement, least significant byte first, as short as it can be.
    BigInt(Vec<u8>),
    /// A floating point number.
    Float(f64),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Text.
    Str(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// A tuple.
    Tuple(Vec<Value<'a>>),
    /// A dictionary, in the order of the message. Keys that come twice are kept twice; see [`Value::item`].
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A class or function by its name. Only pickles have them.
    Global {
        /// The module it is said to be in.
        module: Cow<'a, str>,
        /// Its name there.
        name: Cow<'a, str>,
    },
    /// What a pickle would make by calling something: nothing is called, this is the recipe.
    Object {
        /// What would be called.
        callable: Box<Value<'a>>,
        /// With these arguments.
        args: Vec<Value<'a>>,
        /// The state that would be set on the result.
        state: Option<Box<Value<'a>>>,
        /// Whether the callable is a class whose `__new__` would be called, instead of the class itself.
        new: bool,
    },
}

impl<'a> Value<'a> {
    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        let all = |values: Vec<Value<'a>>| values.into_iter().map(Value::into_owned).collect();
        match self {
            Self::None => Value::None,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::BigInt(value) => Value::BigInt(value),
            Self::Float(value) => Value::Float(value),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Str(text) => Value::Str(Cow::Owned(text.into_owned())),
            Self::List(values) => Value::List(all(values)),
            Self::Tuple(values) => Value::Tuple(all(values)),
            Self::Dict(items) => Value::Dict(
                items.into_iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
            ),
            Self::Global { module, name } => {
                Value::Global { module: Cow::Owned(module.into_owned()), name: Cow::Owned(name.into_owned()) }
            }
            Self::Object { callable, args, state, new } => Value::Object {
                callable: Box::new(callable.into_owned()),
                args: all(args),
                state: state.map(|state| Box::new(state.into_owned())),
                new,
            },
        }
    }

    /// The bytes, if this is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is a whole number of 64 bits. As in Python, `True` is 1 and `False` is 0.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            Self::Bool(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The oid, if this is eight bytes.
    pub fn as_oid(&self) -> Option<Oid> {
        Oid::try_from(self.as_bytes()?).ok()
    }

    /// The tid, if this is eight bytes.
    pub fn as_tid(&self) -> Option<Tid> {
        Tid::try_from(self.as_bytes()?).ok()
    }

    /// The elements of a list or a tuple.
    pub fn as_sequence(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(values) | Self::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// The elements of a list or a tuple, without copying them; else the value itself comes back.
    ///
    /// # Errors
    /// The value, unchanged, when it is not a sequence.
    pub fn into_sequence(self) -> Result<Vec<Value<'a>>, Self> {
        match self {
            Self::List(values) | Self::Tuple(values) => Ok(values),
            other => Err(other),
        }
    }

    /// The keys and values of a dictionary.
    pub fn as_dict(&self) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self {
            Self::Dict(items) => Some(items),
            _ => None,
        }
    }

    /// What a dictionary has under a text key. Of keys that come twice, Python keeps the last value.
    pub fn item(&self, key: &str) -> Option<&Value<'a>> {
        let items = self.as_dict()?;
        items.iter().rev().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// What Python's `bool()` makes of the value. Objects count as true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Str(text) => !text.is_empty(),
            Self::List(values) | Self::Tuple(values) => !values.is_empty(),
            Self::Dict(items) => !items.is_empty(),
            Self::BigInt(_) | Self::Global { .. } | Self::Object { .. } => true,
        }
    }

    /// Whether Python accepts it as a key of a dictionary.
    pub(crate) fn is_hashable(&self) -> bool {
        match self {
            Self::List(_) | Self::Dict(_) => false,
            Self::Tuple(values) => values.iter().all(Value::is_hashable),
            _ => true,
        }
    }

    /// The name of the value's type as Python says it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Bytes(_) => "bytes",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Global { .. } => "type",
            Self::Object { callable, .. } => match &**callable {
                Self::Global { name, .. } => name,
                _ => "object",
            },
        }
    }
}
