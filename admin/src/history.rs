//! `standby-admin history`: what has happened, a line each.

use standby_control::HistoryAnswer;

use crate::units::moment;

/// All of it, as text.
pub fn shown(answer: &HistoryAnswer) -> String {
    answer
        .happenings
        .iter()
        .map(|entry| format!("{}  {}  (by {})\n", moment(entry.at), entry.text, entry.by))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use standby_control::HistoryEntry;

    #[test]
    fn what_happened_is_shown_with_when_what_and_who() {
        let entry = |at, text: &str| HistoryEntry {
            at,
            by: "b".into(),
            text: text.into(),
            details: serde_json::Value::Null,
        };
        let answer = HistoryAnswer { happenings: vec![entry(60.0, "b is to be the primary")] };
        assert_eq!(shown(&answer), "1970-01-01 00:01:00 UTC  b is to be the primary  (by b)\n");
    }
}
