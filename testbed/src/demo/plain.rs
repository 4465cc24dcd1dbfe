//! The same as lines, for those who have no terminal, or want none.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use standby_control::Role;

use super::act::Act;
use super::board::Board;
use super::view::{Event, View, lag_text};

/// How often it is said how all are.
const EVERY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Prints what happens, until `is_over`.
pub fn show(board: &Board, mut is_over: impl FnMut() -> bool) -> Result<()> {
    let (mut act, mut last) = (None, None);
    let mut status = Instant::now();
    loop {
        let ends = is_over(); // what happened before is still told
        let view = board.view();
        let mut out = std::io::stdout().lock();
        if act != view.act {
            act = view.act;
            if let Some(act) = act {
                writeln!(
                    out,
                    "\n== {} of {}: {}\n   {}",
                    act.number(),
                    Act::ALL.len(),
                    act.title(),
                    act.text()
                )?;
            }
        }
        for event in newer(&view.events, &last) {
            writeln!(out, "{:>6.1} s  {:<8} {}", event.at.as_secs_f64(), event.by.name(), event.text)?;
        }
        last = view.events.last().cloned().or(last);
        if status.elapsed() > EVERY && !view.nodes.is_empty() {
            status = Instant::now();
            writeln!(out, "{}", status_line(&view))?;
        }
        out.flush()?;
        drop(out);
        if ends {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// The events behind the last one that was told.
fn newer<'a>(events: &'a [Event], last: &Option<Event>) -> &'a [Event] {
    let told = last.as_ref().and_then(|last| events.iter().rposition(|event| event == last));
    &events[told.map_or(0, |place| place + 1)..]
}

/// How all are, in one line.
fn status_line(view: &View) -> String {
    let nodes = view.nodes.iter().map(|node| match node.role {
        Some(Role::Replica) => format!("{} {}", node.name, lag_text(node)),
        _ => format!("{} {}", node.name, node.part()),
    });
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    let clients = match (view.clients.writers, view.clients.silent) {
        (0, _) => String::new(),
        _ if view.clients.ended => String::new(),
        (_, Some(silent)) => format!("; no commit for {:.1} s", silent.as_secs_f64()),
        (_, None) => format!("; {} commits/s", view.clients.commits_per_second()),
    };
    format!("{:>6.1} s  status   {nodes}{clients}", view.elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::{ClientsView, NodeView, Source};
    use standby_control::Lag;

    #[test]
    fn each_event_is_printed_once() {
        let event = |number| Event {
            at: Duration::from_secs(number),
            by: Source::Demo,
            text: format!("event {number}"),
        };
        let events: Vec<Event> = (0..3).map(event).collect();
        assert_eq!(newer(&events, &None), &events[..]);
        assert_eq!(newer(&events, &Some(event(1))), &events[2..]);
        assert!(newer(&events, &Some(event(2))).is_empty());
    }

    #[test]
    fn one_line_says_how_all_are() {
        let node = |name: &str, role| NodeView {
            name: name.to_owned(),
            role,
            lag: Some(Lag::default()),
            ..NodeView::default()
        };
        let view = View {
            elapsed: Duration::from_secs(3),
            nodes: vec![node("a", Some(Role::Primary)), node("b", Some(Role::Replica)), node("c", None)],
            clients: ClientsView { writers: 3, steps: vec![5, 5, 5, 5], ..ClientsView::default() },
            ..View::default()
        };
        assert_eq!(status_line(&view), "   3.0 s  status   a PRIMARY, b in step, c gone; 20 commits/s");
    }
}
