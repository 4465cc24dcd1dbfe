//! What is set for a whole cluster.

use serde::{Deserialize, Serialize};

/// Every setting, in the order in which it is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsAnswer {
    /// All of them.
    pub settings: Vec<SettingStatus>,
}

/// A setting, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingStatus {
    /// Its name.
    pub name: String,
    /// What is in force at the node that tells: times with their unit, such as `1500ms`.
    pub value: String,
    /// Who says so.
    pub source: SettingSource,
    /// What is in force where nobody says anything.
    pub default: String,
    /// What the file of the node that tells says, written or not; `None`: a file cannot say it.
    pub in_file: Option<String>,
    /// What it may be, for people.
    pub bounds: String,
    /// When a change acts, for people.
    pub acts: String,
    /// What it does, for people.
    pub what: String,
}

/// Who says what a setting is. What is decided goes before the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// The cluster has decided it: it is the same at all nodes.
    Decided,
    /// The file of the node that tells.
    File,
    /// Nobody.
    Default,
}

/// Settings are to change, all of these together or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    /// Which, and to what.
    pub changes: Vec<SettingChange>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// A setting is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingChange {
    /// Its name.
    pub name: String,
    /// What it is to be; `None`: what the nodes' files say.
    #[serde(default)]
    pub value: Option<String>,
}

/// What has changed, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChanged {
    /// Empty: everything was so already.
    pub changed: Vec<SettingDifference>,
    /// Nothing has: it was only to be said.
    pub dry_run: bool,
}

/// A setting that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingDifference {
    /// Its name.
    pub name: String,
    /// What was in force at the node that tells.
    pub from: String,
    /// What is now.
    pub to: String,
    /// Nothing is decided any more: the nodes' files count.
    pub unset: bool,
    /// When it acts, for people.
    pub acts: String,
}

/// A node's own file was read anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What has changed.
    pub took_effect: Vec<SettingOfFile>,
    /// What is another in the file, and will change when the node is started again.
    pub needs_restart: Vec<SettingOfFile>,
    /// The files of TLS certificates were read anew, too.
    pub certificates: bool,
}

/// A key of a node's file, with another value than the one that the node runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingOfFile {
    /// `section.key`.
    pub key: String,
    /// The value that it ran with.
    pub from: String,
    /// The value that the file says.
    pub to: String,
}
