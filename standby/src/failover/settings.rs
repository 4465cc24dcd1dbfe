//! What is set for a whole cluster, at run time: every setting with its type, bounds and default, and the values that were
//! decided.
//!
//! A decided value goes before what a node's file says, and that before the default. What a value acts on reads it from here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::span;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// How long a primary's lease is.
    Lease,
    /// So many replicas must have a transaction before its client is answered.
    Acks,
    /// How long that may take.
    AckTimeout,
    /// What happens then.
    OnAckTimeout,
    /// A replica that is known to lack more is not promoted by itself.
    MaxLagOnFailover,
    /// A client of a replica waits at most so long for it to catch up.
    CatchUpLimit,
    /// A replica packs when its upstream has packed.
    FollowPack,
    /// A node that has gone so often is banned for a while.
    FlapLimit,
    /// Within so long.
    FlapWindow,
    /// For so long.
    FlapBan,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// It is switched off.
    Off,
    /// A length of time.
    Time(Duration),
    /// A number.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// One of some words.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Time(time) => f.write_str(&span::shown(*time)),
            Self::Count(count) => write!(f, "{count}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// What values a setting may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A time between these, both included.
    Time(Duration, Duration),
    /// The same, or off.
    TimeOrOff(Duration, Duration),
    /// A whole number between these, both included.
    Count(u64, u64),
    /// Yes or no.
    Flag,
    /// One of these.
    Word(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between =
            |least: &Duration, most: &Duration| format!("{} to {}", span::shown(*least), span::shown(*most));
        match self {
            Self::Time(least, most) => f.write_str(&between(least, most)),
            Self::TimeOrOff(least, most) => write!(f, "off, or {}", between(least, most)),
            Self::Count(least, most) => write!(f, "{least} to {most}"),
            Self::Flag => f.write_str("true or false"),
            Self::Word(words) => f.write_str(&words.join(" or ")),
        }
    }
}

impl Kind {
    fn read(self, text: &str) -> Option<Value> {
        let time = |least: Duration, most: Duration| {
            span::parse(text).filter(|time| (least..=most).contains(time)).map(Value::Time)
        };
        match self {
            Self::Time(least, most) => time(least, most),
            Self::TimeOrOff(_, _) if text == "off" => Some(Value::Off),
            Self::TimeOrOff(least, most) => time(least, most),
            Self::Count(least, most) => {
                text.parse().ok().filter(|count| (least..=most).contains(count)).map(Value::Count)
            }
            Self::Flag => text.parse().ok().map(Value::Flag),
            Self::Word(words) => words.contains(&text).then(|| Value::Word(text.to_owned())),
        }
    }
}

/// Everything that there is to know of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Which.
    pub setting: Setting,
    /// What it is called.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// Its value where nobody says anything.
    pub default: Value,
    /// Where a node's file says it, if it may: `[section] key`.
    pub in_file: Option<&'static str>,
    /// What it does.
    pub what: &'static str,
    /// When a change acts.
    pub acts: &'static str,
}

/// A lease may be so long.
pub const LEASES: RangeInclusive<Duration> = Duration::from_millis(200)..=seconds(60);
/// Most acknowledgements that can be asked for.
pub const ACKS_MAX: u64 = 16;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const DAY: Duration = seconds(86_400);
const AT_ONCE: &str = "at once";

/// All settings, in the order in which they are shown.
pub fn all() -> [Definition; 10] {
    use Setting::{
        AckTimeout, Acks, CatchUpLimit, FlapBan, FlapLimit, FlapWindow, FollowPack, Lease, MaxLagOnFailover,
        OnAckTimeout,
    };
    let define = |setting, name, kind, default, in_file, what| Definition {
        setting,
        name,
        kind,
        default,
        in_file,
        what,
        acts: AT_ONCE,
    };
    let lease = define(
        Lease,
        "lease",
        Kind::Time(*LEASES.start(), *LEASES.end()),
        Value::Time(Duration::from_millis(1500)),
        Some("[cluster] lease"),
        "how long a primary's lease is. A primary that is lost is replaced about 1.2 leases later; one that stands still for \
         longer than its lease stops being the primary",
    );
    let acks = define(
        Acks,
        "acks",
        Kind::Count(0, ACKS_MAX),
        Value::Count(0),
        Some("[replication] acks"),
        "so many electable replicas of the primary's group must have a transaction durably before it is published and its \
         client answered",
    );
    [
        Definition {
            acts: "leases at once; how soon gossip and the decided log miss a node, when each node is started again",
            ..lease
        },
        Definition { acts: "with the primary's next lease", ..acks },
        define(
            AckTimeout,
            "ack_timeout",
            Kind::Time(Duration::from_millis(10), DAY),
            Value::Time(seconds(5)),
            Some("[replication] ack_timeout"),
            "how long acknowledgements may take",
        ),
        define(
            OnAckTimeout,
            "on_ack_timeout",
            Kind::Word(&["wait", "continue"]),
            Value::Word("wait".to_owned()),
            Some("[replication] on_ack_timeout"),
            "what happens then: wait on, or continue: clients are answered without, until enough replicas are in step again",
        ),
        define(
            MaxLagOnFailover,
            "max_lag_on_failover",
            Kind::TimeOrOff(Duration::from_millis(100), DAY),
            Value::Off,
            None,
            "a replica is not promoted by itself when it is known to lack transactions that were committed so much later than \
             the last that it has",
        ),
        define(
            CatchUpLimit,
            "catch_up_limit",
            Kind::Time(Duration::ZERO, DAY),
            Value::Time(seconds(10)),
            Some("[replication] catch_up_limit"),
            "a client that registers waits at most so long for a replica to catch up with what it knows of its upstream",
        ),
        define(
            FollowPack,
            "follow_pack",
            Kind::Flag,
            Value::Flag(true),
            Some("[replication] follow_pack"),
            "a replica packs when its upstream has packed",
        ),
        define(
            FlapLimit,
            "flap_limit",
            Kind::Count(0, 100),
            Value::Count(3),
            None,
            "a primary or candidate that has gone or was started anew so often within flap_window is banned for flap_ban; 0: \
             nobody is",
        ),
        define(
            FlapWindow,
            "flap_window",
            Kind::Time(seconds(1), DAY),
            Value::Time(seconds(600)),
            None,
            "within so long",
        ),
        define(
            FlapBan,
            "flap_ban",
            Kind::Time(seconds(1), DAY),
            Value::Time(seconds(600)),
            None,
            "for so long it is promoted only where no other node can be",
        ),
    ]
}

/// A change that is wanted, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The name of the setting.
    pub name: String,
    /// Its value; `None`: as the nodes' files say.
    pub value: Option<String>,
}

/// Why a change means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// There is no such setting.
    #[error("there is no setting {name:?}; {}", likely(.near))]
    Unknown {
        /// What was written.
        name: String,
        /// Those that may have been meant.
        near: Vec<&'static str>,
    },
    /// It cannot have that value.
    #[error("{name}: expected {expected}, not {value:?}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was written.
        value: String,
        /// What it may be.
        expected: String,
    },
}

fn likely(near: &[&str]) -> String {
    match near {
        [] => "`settings` lists them all".to_owned(),
        near => format!("is it {}?", near.join(" or ")),
    }
}

/// The setting of this name.
///
/// # Errors
/// There is none: those with similar names.
pub fn named(name: &str) -> Result<Definition, Wrong> {
    let all = all();
    if let Some(found) = all.iter().find(|definition| definition.name == name) {
        return Ok(found.clone());
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    let distance = |definition: &Definition| {
        let part = name.len() >= 3 && definition.name.contains(&name);
        if part { 1 } else { edits(definition.name, &name) }
    };
    let least = all.iter().map(distance).min().unwrap_or(usize::MAX);
    let near = match least {
        0..=3 => {
            all.iter().filter(|definition| distance(definition) == least).map(|found| found.name).collect()
        }
        _ => Vec::new(),
    };
    Err(Wrong::Unknown { name, near })
}

/// How many letters differ: inserted, removed or changed (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<Setting, Value>);

impl Settings {
    /// Makes all of these changes, or none. Whether anything is another than before.
    ///
    /// # Errors
    /// One of them means nothing.
    pub fn change(&mut self, changes: &[Change]) -> Result<bool, Wrong> {
        let mut changed = self.clone();
        for Change { name, value } in changes {
            let definition = named(name)?;
            match value {
                None => changed.0.remove(&definition.setting),
                Some(text) => {
                    let Some(value) = definition.kind.read(text.trim()) else {
                        let (value, expected) = (text.clone(), definition.kind.to_string());
                        return Err(Wrong::Value { name: definition.name, value, expected });
                    };
                    changed.0.insert(definition.setting, value)
                }
            };
        }
        let is_news = changed != *self;
        *self = changed;
        Ok(is_news)
    }

    /// The changes that lead to the same.
    pub fn as_changes(&self) -> Vec<Change> {
        let decided = all().into_iter().filter_map(|definition| {
            let value = self.get(definition.setting)?.to_string();
            Some(Change { name: definition.name.to_owned(), value: Some(value) })
        });
        decided.collect()
    }

    /// What was decided of this one.
    pub fn get(&self, setting: Setting) -> Option<&Value> {
        self.0.get(&setting)
    }

    /// A time that was decided.
    pub fn time(&self, setting: Setting) -> Option<Duration> {
        match self.get(setting)? {
            Value::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// A number that was decided.
    pub fn count(&self, setting: Setting) -> Option<u64> {
        match self.get(setting)? {
            Value::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// A yes or no that was decided.
    pub fn flag(&self, setting: Setting) -> Option<bool> {
        match self.get(setting)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A word that was decided.
    pub fn word(&self, setting: Setting) -> Option<&str> {
        match self.get(setting)? {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// The table of the documentation.
pub fn documented() -> String {
    let mut text = "| setting | what | values | default | in a node's file | a change acts |\n|---|---|---|---|---|---|\n".to_owned();
    for Definition { name, kind, default, in_file, what, acts, .. } in all() {
        let in_file = in_file.map_or("no".to_owned(), |place| {
            let (section, key) = place.split_once(' ').unwrap_or((place, ""));
            format!("`{key}` in `{section}`")
        });
        text.push_str(&format!("| `{name}` | {what} | {kind} | `{default}` | {in_file} | {acts} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, value: Option<&str>) -> Change {
        Change { name: name.to_owned(), value: value.map(str::to_owned) }
    }

    #[test]
    fn every_setting_has_a_name_of_its_own_and_a_default_that_it_may_have() {
        for definition in all() {
            let Definition { setting, name, kind, default, .. } = &definition;
            assert_eq!(kind.read(&default.to_string()).as_ref(), Some(default), "{name}");
            assert_eq!(named(name), Ok(definition.clone()));
            assert_eq!(serde_json::to_value(setting).expect("a text"), **name);
        }
    }

    #[test]
    fn changes_are_made_together_or_not_at_all() {
        let mut settings = Settings::default();
        assert_eq!(settings.change(&[change("lease", Some("2s")), change("acks", Some("1"))]), Ok(true));
        assert_eq!(settings.time(Setting::Lease), Some(seconds(2)));
        assert_eq!(settings.change(&[change("acks", Some("1"))]), Ok(false), "that was so");
        let told =
            settings.change(&[change("acks", Some("2")), change("lease", Some("1h"))]).expect_err("too long");
        assert_eq!(told.to_string(), "lease: expected 200ms to 1min, not \"1h\"");
        assert_eq!(settings.count(Setting::Acks), Some(1), "nothing has changed");
        assert_eq!(settings.change(&[change("acks", None)]), Ok(true));
        assert_eq!(settings.get(Setting::Acks), None);
    }

    #[test]
    fn values_out_of_bounds_or_of_another_type_are_refused() {
        for (name, value) in [
            ("acks", "17"),
            ("acks", "-1"),
            ("acks", "one"),
            ("lease", "100ms"),
            ("lease", "5"),
            ("lease", "off"),
            ("on_ack_timeout", "stop"),
            ("follow_pack", "yes"),
            ("max_lag_on_failover", "2d"),
        ] {
            let told = Settings::default().change(&[change(name, Some(value))]);
            assert!(matches!(told, Err(Wrong::Value { .. })), "{name} {value}: {told:?}");
        }
        let mut settings = Settings::default();
        assert_eq!(settings.change(&[change("max_lag_on_failover", Some("off"))]), Ok(true));
        assert_eq!(settings.time(Setting::MaxLagOnFailover), None);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let near = |name: &str| named(name).expect_err("unknown").to_string();
        assert_eq!(near("leese"), "there is no setting \"leese\"; is it lease?");
        assert_eq!(near("ack-timeout2"), "there is no setting \"ack_timeout2\"; is it ack_timeout?");
        assert_eq!(
            near("flap"),
            "there is no setting \"flap\"; is it flap_limit or flap_window or flap_ban?"
        );
        assert_eq!(
            near("colour of the sky"),
            "there is no setting \"colour of the sky\"; `settings` lists them all"
        );
    }

    #[test]
    fn the_documentation_says_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let text = std::fs::read_to_string(path).expect("the documentation");
        let (begin, end) =
            ("<!-- settings: made from standby/src/failover/settings.rs -->\n", "<!-- /settings -->");
        let (before, rest) = text.split_once(begin).expect("a place for it");
        let (table, after) = rest.split_once(end).expect("an end of it");
        if std::env::var_os("STANDBY_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{begin}{}{end}{after}", documented())).expect("written");
        } else {
            assert_eq!(table, documented(), "STANDBY_WRITE_DOCS=1 writes it anew");
        }
    }
}
