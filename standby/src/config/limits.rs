//! `[zeo]` and `[limits]`: how ZEO clients are spoken to, and what they may cost.

use std::time::Duration;

use zeo_proto::Encoding;

use super::reader::Document;
use super::values;
use crate::server::ConnectionLimits;
use crate::service::invalidations::InvalidationPolicy;

/// How a node speaks with ZEO clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Zeo {
    /// What the greeting proposes.
    pub encoding: Encoding,
    /// From getting its locks on, a transaction may take so long.
    pub transaction_timeout: Option<Duration>,
    /// How `getInvalidations` is answered.
    pub invalidations: InvalidationPolicy,
}

impl Zeo {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        document.section_or_empty("zeo", |section| {
            let encoding = section.or(
                "encoding",
                |value| match values::text(value)?.as_str() {
                    "pickle" => Ok(Encoding::Pickle),
                    "msgpack" => Ok(Encoding::Msgpack),
                    other => Err(format!("expected \"pickle\" or \"msgpack\", not {other:?}")),
                },
                Encoding::Pickle,
            );
            let queue_size = section.optional("invalidation_queue_size", values::count);
            let age = section.optional("invalidation_age", values::duration);
            let invalidations = match (queue_size, age) {
                (None, None) => InvalidationPolicy::Log,
                (size, age) => {
                    let default = InvalidationPolicy::STOCK_QUEUE_SIZE;
                    let queue_size = size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX));
                    InvalidationPolicy::Stock { queue_size, age }
                }
            };
            let transaction_timeout =
                section.optional("transaction_timeout", |value| match values::duration(value)? {
                    Duration::ZERO => Err("0 would end every transaction: for no limit, leave it out".into()),
                    limit => Ok(limit),
                });
            Self { encoding, transaction_timeout, invalidations }
        })
    }
}

/// Bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// What clients may cost.
    pub clients: ConnectionLimits,
    /// Connections of read-write clients that a node that cannot commit keeps waiting for their greeting.
    pub parked_max: usize,
}

impl Limits {
    pub(super) fn read(document: &mut Document<'_>) -> Self {
        let default = ConnectionLimits::default();
        document.section_or_empty("limits", |section| {
            let connections = section.or("connections", positive, default.connections_max);
            let message = section.or(
                "message",
                |value| match u32::try_from(values::size(value)?) {
                    Ok(bytes) if (1 << 20..=2 << 30).contains(&bytes) => Ok(bytes),
                    _ => Err("expected a size from \"1MiB\" to \"2GiB\"".to_owned()),
                },
                default.frame_bytes_max,
            );
            let parked_max = section.or("parked", positive, 10_000);
            Self {
                clients: ConnectionLimits { frame_bytes_max: message, connections_max: connections },
                parked_max,
            }
        })
    }
}

fn positive(value: &toml::de::DeValue<'_>) -> Result<usize, String> {
    match values::count(value)? {
        0 => Err("expected a whole number from 1".to_owned()),
        count => usize::try_from(count).map_err(|_| "it is too large".to_owned()),
    }
}
