//! `standby-admin settings`: what is set for the whole cluster.

use anyhow::{Result, ensure};
use standby_control::{
    Reloaded, SettingChange, SettingOfFile, SettingSource, SettingStatus, SettingsAnswer, SettingsChanged,
};

use crate::style::attention;
use crate::table::{aligned, header};

/// All settings, as text.
pub fn shown(answer: &SettingsAnswer) -> String {
    let mut rows = vec![header(["setting", "value", "said by", "default", "may be"])];
    for setting in &answer.settings {
        let SettingStatus { name, value, source, default, bounds, .. } = setting;
        rows.push([
            name.clone(),
            value.clone(),
            said_by(*source).to_owned(),
            default.clone(),
            bounds.clone(),
        ]);
    }
    aligned(&rows, 5)
}

/// One setting, with everything that there is to know of it.
pub fn one(setting: &SettingStatus) -> String {
    let SettingStatus { name, value, source, default, in_file, bounds, acts, what } = setting;
    let mut text = format!("{name} = {value}  (said by {})\n", said_by(*source));
    let mut line = |key: &str, value: &str| text.push_str(&format!("  {key:<10}{value}\n"));
    line("what", what);
    line("may be", bounds);
    line("default", default);
    line("file", in_file.as_deref().unwrap_or("cannot say it"));
    line("acts", acts);
    text
}

fn said_by(source: SettingSource) -> &'static str {
    match source {
        SettingSource::Decided => "the cluster",
        SettingSource::File => "the node's file",
        SettingSource::Default => "nobody",
    }
}

/// What has changed, as text.
pub fn changed(told: &SettingsChanged) -> String {
    if told.changed.is_empty() {
        return "that was so already\n".to_owned();
    }
    let line = |change: &standby_control::SettingDifference| {
        let standby_control::SettingDifference { name, from, to, unset, acts } = change;
        let unset = if *unset { " (as the node's file says)" } else { "" };
        format!("{name}: {from} → {to}{unset}; acts {acts}\n")
    };
    let lines: String = told.changed.iter().map(line).collect();
    if told.dry_run { format!("nothing has changed; this would:\n{lines}") } else { lines }
}

/// What has changed when a node read its own file anew, as text.
pub fn reloaded(told: &Reloaded) -> String {
    let lines = |what: &str, found: &[SettingOfFile]| -> String {
        found.iter().map(|SettingOfFile { key, from, to }| format!("{what} {key}: {from} → {to}\n")).collect()
    };
    let mut text = lines("took effect:", &told.took_effect)
        + &lines(&attention("NEEDS A RESTART:"), &told.needs_restart);
    if text.is_empty() {
        text.push_str("the file says what it said\n");
    }
    if told.certificates {
        text.push_str("the certificates were read anew\n");
    }
    text
}

/// Names and values, one after the other.
///
/// # Errors
/// A name without a value.
pub fn pairs(words: &[String]) -> Result<Vec<SettingChange>> {
    ensure!(
        words.len().is_multiple_of(2),
        "{} has no value: give NAME VALUE, as often as you like",
        words[words.len() - 1]
    );
    let pair = |pair: &[String]| SettingChange { name: pair[0].clone(), value: Some(pair[1].clone()) };
    Ok(words.chunks(2).map(pair).collect())
}

/// Names, each to be left to the nodes' files.
pub fn names(names: &[String]) -> Vec<SettingChange> {
    names.iter().map(|name| SettingChange { name: name.clone(), value: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_what_was_before() {
        let change = standby_control::SettingDifference {
            name: "lease".into(),
            from: "1500ms".into(),
            to: "2s".into(),
            unset: false,
            acts: "at once".into(),
        };
        let told = SettingsChanged { changed: vec![change], dry_run: true };
        assert_eq!(changed(&told), "nothing has changed; this would:\nlease: 1500ms → 2s; acts at once\n");
        assert_eq!(changed(&SettingsChanged { changed: vec![], dry_run: false }), "that was so already\n");
    }

    #[test]
    fn every_name_needs_a_value() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(pairs(&words("lease 2s acks 1")).expect("two").len(), 2);
        let told = pairs(&words("lease 2s acks")).expect_err("one has none").to_string();
        assert_eq!(told, "acks has no value: give NAME VALUE, as often as you like");
    }
}
