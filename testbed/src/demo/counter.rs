use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::background::Background;
use super::board::Board;
use super::view::{ClientsView, STEP};

/// So many steps of commits are shown at most.
const STEPS_MAX: usize = 240;
/// Without a commit for so long, that is worth telling.
const SILENT: Duration = Duration::from_millis(500);

/// How many transactions the clients have committed so far.
pub type Count = Box<dyn FnMut() -> u64 + Send>;

/// Counts what the clients commit, and puts that on the board.
pub fn start(board: Arc<Board>, mut count: Count) -> Result<Background> {
    let mut last = Instant::now();
    Background::start("counter", STEP, move || {
        let committed = count();
        board.change(|view| {
            if add(&mut view.clients, committed) > 0 {
                last = Instant::now();
            }
            view.clients.silent = Some(last.elapsed()).filter(|silent| *silent > SILENT);
        });
    })
}

/// So many are committed now. How many more than before.
fn add(clients: &mut ClientsView, committed: u64) -> u64 {
    let step = committed.saturating_sub(clients.committed);
    clients.committed = clients.committed.max(committed);
    clients.steps.push(step);
    let surplus = clients.steps.len().saturating_sub(STEPS_MAX);
    clients.steps.drain(..surplus);
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_a_second_are_those_of_the_last_four_steps() {
        let mut clients = ClientsView::default();
        for committed in [100, 110, 130, 160, 200] {
            add(&mut clients, committed);
        }
        assert_eq!(clients.commits_per_second(), 10 + 20 + 30 + 40);
        assert_eq!(clients.committed, 200);
    }
}
