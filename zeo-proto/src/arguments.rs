use std::borrow::Cow;

use crate::method::Method;
use crate::{ErrorReply, Oid, Serial, Tid, TransactionKey, Value, arity};

/// The arguments of a call, taken one by one in order. Each has to be of the kind that the taker asks for, else
/// the call fails with a `TypeError` that says what came instead.
pub(crate) struct Arguments<'a> {
    method: &'static Method,
    values: std::vec::IntoIter<Value<'a>>,
    taken: usize,
}

type Taken<T> = Result<T, ErrorReply>;

impl<'a> Arguments<'a> {
    /// Checks that there are as many as the method takes.
    pub(crate) fn new(method: &'static Method, args: Value<'a>) -> Taken<Self> {
        let values = args.into_sequence().map_err(|other| {
            let (class, name, kind) = (method.class, method.name, other.type_name());
            ErrorReply::Type(format!("{class}.{name}() argument after * must be an iterable, not {kind}"))
        })?;
        match arity::error_text(method, values.len()) {
            Some(text) => Err(ErrorReply::Type(text)),
            None => Ok(Self { method, values: values.into_iter(), taken: 0 }),
        }
    }

    /// Whether all that came is taken; what follows has its default.
    pub(crate) fn is_over(&self) -> bool {
        self.values.len() == 0
    }

    pub(crate) fn value(&mut self) -> Value<'a> {
        self.taken += 1;
        self.values.next().unwrap_or(Value::None)
    }

    pub(crate) fn key(&mut self) -> TransactionKey {
        self.value().into()
    }

    pub(crate) fn oid(&mut self) -> Taken<Oid> {
        let value = self.value();
        value.as_oid().ok_or_else(|| self.wrong("an oid of 8 bytes", &value))
    }

    pub(crate) fn optional_oid(&mut self) -> Taken<Option<Oid>> {
        match self.value() {
            Value::None => Ok(None),
            value => value.as_oid().map(Some).ok_or_else(|| self.wrong("an oid of 8 bytes or None", &value)),
        }
    }

    pub(crate) fn tid(&mut self) -> Taken<Tid> {
        let value = self.value();
        value.as_tid().ok_or_else(|| self.wrong("a tid of 8 bytes", &value))
    }

    pub(crate) fn optional_tid(&mut self) -> Taken<Option<Tid>> {
        match self.value() {
            Value::None => Ok(None),
            value => value.as_tid().map(Some).ok_or_else(|| self.wrong("a tid of 8 bytes or None", &value)),
        }
    }

    /// A serial. For new objects some clients send text of eight NULs, the form it had in Python 2.
    pub(crate) fn serial(&mut self) -> Taken<Serial> {
        match self.value() {
            Value::None => Ok(None),
            Value::Str(text) if text == "\0\0\0\0\0\0\0\0" => Ok(Some(Tid::ZERO)),
            value => {
                value.as_tid().map(Some).ok_or_else(|| self.wrong("a serial of 8 bytes or None", &value))
            }
        }
    }

    pub(crate) fn int(&mut self) -> Taken<i64> {
        let value = self.value();
        value.as_int().ok_or_else(|| self.wrong("an int", &value))
    }

    pub(crate) fn float(&mut self) -> Taken<f64> {
        match self.value() {
            Value::Float(number) => Ok(number),
            value => value.as_int().map(|number| number as f64).ok_or_else(|| self.wrong("a float", &value)),
        }
    }

    /// A truth value: a bool, an int, or None.
    pub(crate) fn truth(&mut self) -> Taken<bool> {
        match self.value() {
            value @ (Value::Bool(_) | Value::Int(_) | Value::None) => Ok(value.is_truthy()),
            value => Err(self.wrong("a bool", &value)),
        }
    }

    /// Bytes; text counts as its UTF-8 form.
    pub(crate) fn bytes(&mut self) -> Taken<Cow<'a, [u8]>> {
        let value = self.value();
        into_bytes(value).map_err(|value| self.wrong("bytes", &value))
    }

    pub(crate) fn optional_bytes(&mut self) -> Taken<Option<Cow<'a, [u8]>>> {
        match self.value() {
            Value::None => Ok(None),
            value => into_bytes(value).map(Some).map_err(|value| self.wrong("bytes or None", &value)),
        }
    }

    pub(crate) fn text(&mut self) -> Taken<Cow<'a, str>> {
        match self.value() {
            Value::Str(text) => Ok(text),
            value => Err(self.wrong("a str", &value)),
        }
    }

    pub(crate) fn sequence(&mut self) -> Taken<Vec<Value<'a>>> {
        self.value().into_sequence().map_err(|value| self.wrong("a list", &value))
    }

    /// The error that the argument taken last is not what it has to be.
    pub(crate) fn wrong(&self, expected: &str, value: &Value<'_>) -> ErrorReply {
        let Method { class, name, parameters } = self.method;
        let parameter = parameters[self.taken - 1].name;
        let kind = value.type_name();
        let came = match value {
            Value::Bytes(bytes) => format!("{kind} of length {}", bytes.len()),
            _ => kind.to_owned(),
        };
        ErrorReply::Type(format!("{class}.{name}() argument '{parameter}' must be {expected}, not {came}"))
    }
}

fn into_bytes(value: Value<'_>) -> Result<Cow<'_, [u8]>, Value<'_>> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Str(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Value::Str(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
        other => Err(other),
    }
}
