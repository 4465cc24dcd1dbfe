//! The live view in the terminal, which is as it was afterwards, whatever happens.

use std::time::Duration;

use anyhow::Result;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::board::Board;
use super::screen;

/// It is drawn again so often.
const FRAME: Duration = Duration::from_millis(100);

/// Shows what happens, until `is_over`. `q` and Ctrl-C give up.
pub fn show(board: &Board, mut is_over: impl FnMut() -> bool) -> Result<()> {
    let mut terminal = ratatui::try_init()?; // also has a panic restore the terminal first
    keep_quiet_elsewhere();
    let shown = show_in(&mut terminal, board, &mut is_over);
    ratatui::try_restore()?;
    shown
}

fn show_in(terminal: &mut DefaultTerminal, board: &Board, is_over: &mut dyn FnMut() -> bool) -> Result<()> {
    while !is_over() {
        let view = board.view();
        terminal.draw(|frame| screen::draw(frame, &view))?;
        if event::poll(FRAME)?
            && let Event::Key(key) = event::read()?
            && gives_up(&key)
        {
            board.give_up();
        }
    }
    Ok(())
}

/// A panic of another thread ends it, and is told when that is noticed; printed at once it would be in the picture.
fn keep_quiet_elsewhere() {
    let own = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == own {
            before(panic);
        }
    }));
}

fn gives_up(key: &KeyEvent) -> bool {
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (is_control_c || matches!(key.code, KeyCode::Char('q' | 'Q')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_control_c_give_up_and_no_other_key_does() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(gives_up(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(gives_up(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!gives_up(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!gives_up(&key(KeyCode::Enter, KeyModifiers::NONE)));
    }
}
