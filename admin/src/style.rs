//! Colours. They are part of the text that is made, and left out where it is not shown on a terminal, or where `NO_COLOR` is
//! set: that is seen to where it is written.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What is wrong, and has to be looked at.
const ATTENTION: Style = AnsiColor::Red.on_default().bold();
/// What somebody has wanted, and should not forget.
const CAUTION: Style = AnsiColor::Yellow.on_default();
/// Where clients write.
const PRIMARY: Style = AnsiColor::Green.on_default().bold();
const HEADING: Style = Style::new().bold();

/// What is wrong.
pub fn attention(text: impl Display) -> String {
    styled(ATTENTION, text)
}

/// What is not as usual, since somebody wanted it.
pub fn caution(text: impl Display) -> String {
    styled(CAUTION, text)
}

/// The primary.
pub fn primary(text: impl Display) -> String {
    styled(PRIMARY, text)
}

/// What stands above columns.
pub fn heading(text: impl Display) -> String {
    styled(HEADING, text)
}

fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The same without colours.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_ends_where_its_text_ends_and_can_be_left_out() {
        let text = format!("{} for 2 s", attention("FAILED"));
        assert_eq!(text, "\x1b[1m\x1b[31mFAILED\x1b[0m for 2 s");
        assert_eq!(plain(&text), "FAILED for 2 s");
    }
}
