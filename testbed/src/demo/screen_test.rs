use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use standby_control::Lag;

use super::*;

/// In the middle of a failover.
fn view() -> View {
    let node = |name: &str, site: &str, role| NodeView {
        name: name.to_owned(),
        site: site.to_owned(),
        stopped: false,
        role,
        epoch: 2,
        log_bytes: 1_500_000,
        lag: Some(Lag::default()),
        clients: 3,
    };
    let behind = Lag { transactions: 17, more: false, bytes: 5_000, seconds: 1.2 };
    View {
        elapsed: Duration::from_millis(12_340),
        act: Some(Act::Kill),
        epoch: 2,
        nodes: vec![
            node("a", "berlin", None),
            node("b", "berlin", Some(Role::Primary)),
            node("c", "berlin", Some(Role::Replica)),
            NodeView { lag: Some(behind), ..node("remote", "paris", Some(Role::Replica)) },
        ],
        clients: ClientsView {
            kind: "stock ZEO 6.2".to_owned(),
            writers: 3,
            readers: 2,
            committed: 4711,
            steps: vec![10, 20, 30, 40, 0],
            ended: false,
            silent: None,
        },
        events: (0..40)
            .map(|number| Event {
                at: Duration::from_millis(number * 300),
                by: Source::Cluster,
                text: format!("event {number}, of which there is more to say than fits into one line of a small terminal"),
            })
            .collect(),
    }
}

fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, view)).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..height).map(line).collect()
}

fn line_with<'a>(lines: &'a [String], text: &str) -> &'a str {
    let found = lines.iter().find(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no {text:?} in\n{}", lines.join("\n")))
}

#[test]
fn a_terminal_of_80_by_24_shows_every_node_the_clients_and_the_newest_event() {
    let lines = drawn(&view(), 80, 24);
    assert!(line_with(&lines, "│a ").contains("gone"));
    assert!(line_with(&lines, "│b ").contains("PRIMARY"));
    assert!(line_with(&lines, "│remote").contains("17 behind, 1.2 s"));
    line_with(&lines, "4711 transactions committed");
    line_with(&lines, "90 commits/s");
    line_with(&lines, "3 of 6: kill -9 of the primary");
    line_with(&lines, "event 39");
    line_with(&lines, "q quits");
}

#[test]
fn a_large_terminal_shows_more_events() {
    let lines = drawn(&view(), 120, 40);
    line_with(&lines, "event 39");
    line_with(&lines, "event 24");
}

#[test]
fn without_commits_it_says_for_how_long() {
    let mut view = view();
    view.clients.silent = Some(Duration::from_millis(1_700));
    line_with(&drawn(&view, 80, 24), "no commit for 1.7 s");
}

#[test]
fn a_tiny_terminal_and_an_empty_view_are_no_reason_to_end() {
    for (width, height) in [(1, 1), (10, 5), (30, 10), (79, 12)] {
        drawn(&view(), width, height);
        drawn(&View::default(), width, height);
    }
}

#[test]
fn a_long_text_goes_on_in_the_next_line() {
    assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
    assert_eq!(wrapped("", 7), [""]);
}
