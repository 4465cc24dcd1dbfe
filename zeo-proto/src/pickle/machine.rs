use std::marker::PhantomData;

use super::Globals;
use crate::{DecodeError, Limits, Value};

pub(crate) struct Machine<'a>(PhantomData<&'a ()>);

impl<'a> Machine<'a> {
    pub(crate) fn new(_bytes: &'a [u8], _limits: &Limits, _globals: Globals) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn run(self) -> Result<Value<'a>, DecodeError> {
        Err(DecodeError::Truncated)
    }
}
