//! The result: figures beside each other, held against their targets.

use serde_json::{Value, json};

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// At least so many times the stock server.
    TimesRival(f64),
    /// At most one of so many parts of the stock server's: it is a time.
    TimesFaster(f64),
    /// At least this part of the ceiling.
    OfCeiling(f64),
    /// At least this figure.
    AtLeast(f64),
    /// At most this figure.
    AtMost(f64),
}

impl Bound {
    fn text(self) -> String {
        match self {
            Self::TimesRival(factor) => format!(">= {factor} x rival"),
            Self::TimesFaster(factor) => format!("<= rival / {factor}"),
            Self::OfCeiling(part) => format!(">= {part} x ceiling"),
            Self::AtLeast(figure) => format!(">= {}", figure_text(figure)),
            Self::AtMost(figure) => format!("<= {}", figure_text(figure)),
        }
    }

    fn met(self, row: &Row) -> Option<bool> {
        let ours = median(&row.ours)?;
        Some(match self {
            Self::TimesRival(factor) => ours >= factor * median(&row.rival)?,
            Self::TimesFaster(factor) => ours * factor <= median(&row.rival)?,
            Self::OfCeiling(part) => ours >= part * median(&row.ceiling)?,
            Self::AtLeast(figure) => ours >= figure,
            Self::AtMost(figure) => ours <= figure,
        })
    }
}

/// One figure of each, from every round.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What is measured, with its unit.
    pub(super) name: &'static str,
    /// The stock server.
    pub(super) rival: Vec<f64>,
    /// Standby.
    pub(super) ours: Vec<f64>,
    /// The machine.
    pub(super) ceiling: Vec<f64>,
    /// What must be met.
    pub(super) target: Option<Bound>,
    /// Where it should go.
    pub(super) goal: Option<Bound>,
}

impl Row {
    /// A row without figures.
    pub(super) fn new(name: &'static str, target: Option<Bound>, goal: Option<Bound>) -> Self {
        Self { name, rival: Vec::new(), ours: Vec::new(), ceiling: Vec::new(), target, goal }
    }

    /// Whether the target was measured and missed.
    pub(super) fn missed(&self) -> bool {
        self.target.is_some_and(|target| target.met(self) == Some(false))
    }

    fn cells(&self) -> Vec<String> {
        let (rival, ours, ceiling) = (median(&self.rival), median(&self.ours), median(&self.ceiling));
        let ratio = |to: Option<f64>| match (ours, to) {
            (Some(ours), Some(to)) if to > 0.0 => format!("{:.2}", ours / to),
            _ => String::new(),
        };
        let verdict = |bound: Option<Bound>, yes: &str, no: &str| match bound {
            Some(bound) => match bound.met(self) {
                Some(true) => format!("{} {yes}", bound.text()),
                Some(false) => format!("{} {no}", bound.text()),
                None => bound.text(),
            },
            None => String::new(),
        };
        let cell = |figure: Option<f64>| figure.map(figure_text).unwrap_or_default();
        vec![
            self.name.to_owned(),
            cell(rival),
            cell(ours),
            cell(ceiling),
            ratio(rival),
            ratio(ceiling),
            verdict(self.target, "ok", "MISSED"),
            verdict(self.goal, "reached", "not yet"),
        ]
    }

    fn json(&self) -> Value {
        let side = |figures: &[f64]| json!({ "median": median(figures), "rounds": figures });
        json!({
            "name": self.name, "rival": side(&self.rival), "ours": side(&self.ours),
            "ceiling": side(&self.ceiling), "target": self.target.map(Bound::text), "missed": self.missed(),
            "goal": self.goal.map(Bound::text),
        })
    }
}

/// The rows as text, columns aligned.
pub(super) fn text(rows: &[Row]) -> String {
    let heading =
        ["", "rival", "ours", "ceiling", "ours/rival", "ours/ceiling", "target", "goal"].map(str::to_owned);
    let lines: Vec<Vec<String>> =
        std::iter::once(heading.to_vec()).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            1..=5 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// The rows for machines to read, every round included.
pub(super) fn json(rows: &[Row]) -> Value {
    Value::Array(rows.iter().map(Row::json).collect())
}

/// The middle figure (of an even number: the mean of the two).
fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Three significant digits, thousands apart.
fn figure_text(figure: f64) -> String {
    if figure < 10.0 {
        return format!("{figure:.2}");
    }
    let scale = 10f64.powi((figure.log10().floor() as i32 - 2).max(0));
    let digits = format!("{:.0}", (figure / scale).round() * scale);
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_to_three_digits_and_grouped() {
        for (figure, expected) in
            [(0.1234, "0.12"), (15.2, "15"), (843.4, "843"), (46_123.0, "46,100"), (1_170_499.0, "1,170,000")]
        {
            assert_eq!(figure_text(figure), expected);
        }
    }

    #[test]
    fn a_target_is_missed_by_the_median_only() {
        let mut row = Row::new("loads", Some(Bound::TimesRival(8.0)), None);
        row.rival = vec![10.0, 11.0, 9.0];
        row.ours = vec![100.0, 10.0, 81.0];
        assert!(!row.missed());
        row.ours = vec![79.0, 10.0, 81.0];
        assert!(row.missed());
        assert!(text(&[row]).contains(">= 8 x rival MISSED"));
    }

    #[test]
    fn nothing_is_missed_that_was_not_measured() {
        assert!(!Row::new("loads", Some(Bound::TimesRival(8.0)), None).missed());
    }
}
