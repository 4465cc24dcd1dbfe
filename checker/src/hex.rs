//! Oids and tids in JSON: text of 16 hexadecimal digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zodb_types::{Oid, Tid};

/// Either of the two.
pub(crate) trait Id: Sized {
    fn number(&self) -> u64;
    fn of(number: u64) -> Self;
}

impl Id for Oid {
    fn number(&self) -> u64 {
        self.get()
    }

    fn of(number: u64) -> Self {
        Self::new(number)
    }
}

impl Id for Tid {
    fn number(&self) -> u64 {
        self.get()
    }

    fn of(number: u64) -> Self {
        Self::new(number)
    }
}

fn parse<'de, T: Id, D: Deserializer<'de>>(text: &str) -> Result<T, D::Error> {
    let number = (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    number.map(T::of).ok_or_else(|| D::Error::custom(format!("{text:?} is not 16 hexadecimal digits")))
}

pub(crate) fn serialize<T: Id, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{:016x}", id.number()))
}

pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    parse::<T, D>(&String::deserialize(deserializer)?)
}

pub(crate) mod optional {
    use super::*;

    pub(crate) fn serialize<T: Id, S: Serializer>(id: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        id.as_ref().map(|id| format!("{:016x}", id.number())).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| parse::<T, D>(&text)).transpose()
    }
}

pub(crate) mod list {
    use super::*;

    pub(crate) fn serialize<T: Id, S: Serializer>(ids: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(|id| format!("{:016x}", id.number())))
    }

    pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| parse::<T, D>(text)).collect()
    }
}
