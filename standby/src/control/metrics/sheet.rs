//! Values, written as text.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::families::{FAMILIES, Kind};

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Values {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge<f64, AtomicU64>>),
}

/// Values of all metrics at one moment.
#[derive(Debug)]
pub(super) struct Sheet {
    registry: Registry,
    families: BTreeMap<&'static str, Values>,
}

impl Sheet {
    /// Without any value.
    pub(super) fn new() -> Self {
        let mut sheet = Self { registry: Registry::default(), families: BTreeMap::new() };
        for (name, kind, help) in FAMILIES {
            let values = match kind {
                Kind::Counter => {
                    let family = Family::default();
                    // The end is put behind it again when it is written.
                    let stem = name.strip_suffix("_total").expect("counters are named so");
                    sheet.registry.register(stem, *help, family.clone());
                    Values::Counter(family)
                }
                Kind::Gauge => {
                    let family = Family::default();
                    sheet.registry.register(*name, *help, family.clone());
                    Values::Gauge(family)
                }
            };
            sheet.families.insert(name, values);
        }
        sheet
    }

    /// Puts down a gauge.
    pub(super) fn set(&mut self, name: &str, labels: &[(&'static str, &str)], value: impl Into<f64>) {
        let Some(Values::Gauge(family)) = self.families.get(name) else { panic!("{name} is no gauge") };
        family.get_or_create(&owned(labels)).set(value.into());
    }

    /// Puts down a number that may be large: above 2^53, its last digits are lost.
    pub(super) fn set_number(&mut self, name: &str, labels: &[(&'static str, &str)], value: u64) {
        self.set(name, labels, value as f64);
    }

    /// Puts down 1 or 0.
    pub(super) fn set_flag(&mut self, name: &str, labels: &[(&'static str, &str)], value: bool) {
        self.set(name, labels, u8::from(value));
    }

    /// Puts down a counter.
    pub(super) fn count(&mut self, name: &str, labels: &[(&'static str, &str)], value: u64) {
        let Some(Values::Counter(family)) = self.families.get(name) else { panic!("{name} is no counter") };
        family.get_or_create(&owned(labels)).inc_by(value);
    }

    /// In Prometheus' text format, version 0.0.4.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry).expect("memory takes everything");
        in_text_format(&text)
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// OpenMetrics calls a family of counters without the `_total` of its samples; the older format, with it.
fn in_text_format(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let about_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let is_counter = about_counter(line)
            || (line.starts_with("# HELP ") && lines.peek().is_some_and(|next| about_counter(next)));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            [hash, what, name, rest] if is_counter => text += &format!("{hash} {what} {name}_total {rest}\n"),
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_by_their_whole_name() {
        let mut sheet = Sheet::new();
        sheet.count("standby_storage_loads_total", &[("storage", "a\"b\nc")], 7);
        sheet.set("standby_epoch", &[], 3u8);
        assert_eq!(
            sheet.text(),
            "# HELP standby_epoch The number of the last primary's reign that the node knows of.\n\
             # TYPE standby_epoch gauge\n\
             standby_epoch{} 3.0\n\
             # HELP standby_storage_loads_total Objects that clients asked for.\n\
             # TYPE standby_storage_loads_total counter\n\
             standby_storage_loads_total{storage=\"a\\\"b\\nc\"} 7\n"
        );
    }
}
