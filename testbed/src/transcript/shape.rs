use std::sync::LazyLock;

use regex::Regex;

/// What no two runs have in common, and what stands for it. In this order.
static PLACEHOLDERS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        // How far a pack is, while it is waited for: seen or not.
        (r"(?m)^storage \S+: [a-z ]+ \d+ %\n", ""),
        (r"\d{4}-\d\d-\d\d(T[\d:.]+Z| [\d:]+ UTC)", "TIME"),
        (r"\b[0-9a-f]{16}\b", "TID"),
        (r"\b0x[0-9a-f]+\b", "OID"),
        (r"TID-\d+\.fs", "TID-SECONDS.fs"),
        (r"\b\d+(\.\d+)? (s|min|h|days)\b", "DURATION"),
        (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB|bytes)\b", "SIZE"),
        (r"\bfrom \d+ to SIZE", "from SIZE to SIZE"),
        (r"\bhad to wait for [\d.]+(ms|s)\b", "had to wait for DURATION"),
        (r"\buser \d+\b", "user UID"),
        (r"\bat \d+, SIZE", "at N, SIZE"),
        // Numbers in JSON.
        (r#"("[a-z_]+": ?)-?\d+(\.\d+)?(e-?\d+)?"#, "${1}N"),
        // Widths of columns, and where a text is wrapped.
        (r" {2,}", "  "),
        (r"(?m) +$", ""),
    ];
    rules.map(|(rule, name)| (Regex::new(rule).expect("a good rule"), name)).into()
});

/// What remains of an output in every run.
pub fn shape(output: &str) -> String {
    PLACEHOLDERS
        .iter()
        .fold(output.to_owned(), |text, (rule, name)| rule.replace_all(&text, *name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lengths_and_widths_make_no_difference() {
        let same = [
            (
                "a     primary  3  2026-11-21 10:18:18 UTC  0.0 s",
                "a  primary  3  2027-01-02 00:00:00 UTC  12 s",
            ),
            ("last 040d29aa504606a5, 1.2 GiB", "last 040d29aa504606a6, 3 B"),
            ("  \"now\": 1795280656.25,", "  \"now\": 1795280657,"),
            ("storage 1: copying 40 %\nstorage 1: packed", "storage 1: packed"),
            ("at 4, 210 bytes, user \"x\"", "at 214, 30 bytes, user \"x\""),
        ];
        for (one, other) in same {
            assert_eq!(shape(one), shape(other));
        }
    }

    #[test]
    fn names_states_settings_and_exit_codes_do() {
        let other = [
            ("a  primary  3", "a  primary  4"),
            ("lease: 1500ms → 3s", "lease: 1500ms → 2s"),
            ("[exit 1]", "[exit 2]"),
            ("b  FAILED for 12 s", "b  alive"),
            ("\"lag_seconds\": null", "\"lag_seconds\": 0.5"),
            ("  indented", "not indented"),
        ];
        for (one, other) in other {
            assert_ne!(shape(one), shape(other));
        }
    }
}
