//! What is seen: from a [`View`] to widgets.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use standby_control::Role;

use super::act::Act;
use super::view::{ClientsView, Event, NodeView, Source, View, lag_text};

/// Lines of the nodes' box: a line each, the head, and the frame.
const NODES_LINES: u16 = 7;
const CLIENTS_LINES: u16 = 5;
const ACT_LINES: u16 = 4;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(ACT_LINES),
        Constraint::Length(NODES_LINES),
        Constraint::Length(CLIENTS_LINES),
        Constraint::Min(3),
    ]);
    let [top, act, nodes, clients, events] = areas.areas(frame.area());
    draw_top(frame, top, view);
    draw_act(frame, act, view.act);
    draw_nodes(frame, nodes, view);
    draw_clients(frame, clients, &view.clients);
    draw_events(frame, events, &view.events);
}

fn boxed(title: String) -> Block<'static> {
    let frame = Style::new().fg(Color::DarkGray);
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(frame)
        .title(Span::styled(format!(" {title} "), Style::new().fg(Color::Cyan).bold()))
}

fn draw_top(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(24)]).areas(area);
    let title = Line::from(vec![" Standby ".bold().reversed(), " a ZODB storage that stays up".dim()]);
    frame.render_widget(title, left);
    let time = format!("epoch {}   {:>5.1} s ", view.epoch, view.elapsed.as_secs_f64());
    frame.render_widget(Line::from(time).right_aligned(), right);
}

fn draw_act(frame: &mut Frame<'_>, area: Rect, act: Option<Act>) {
    let number = act.map_or(0, Act::number);
    let title =
        act.map_or("Preparing".to_owned(), |act| format!("{number} of {}: {}", Act::ALL.len(), act.title()));
    let text = act.map_or("", Act::text);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(boxed(title)), area);
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let head = Row::new(["node", "site", "part", "epoch", "log", "lag", "clients"])
        .style(Style::new().add_modifier(Modifier::DIM));
    let rows = view.nodes.iter().map(node_row);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(11),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Min(16),
        Constraint::Length(7),
    ];
    frame.render_widget(Table::new(rows, widths).header(head).block(boxed("Nodes".to_owned())), area);
}

fn node_row(node: &NodeView) -> Row<'static> {
    let part = match node.role {
        _ if node.stopped => Style::new().add_modifier(Modifier::DIM),
        Some(Role::Primary) => Style::new().fg(Color::Green).bold(),
        Some(Role::Replica) => Style::new().fg(Color::Blue),
        Some(_) => Style::new().fg(Color::Yellow),
        None => Style::new().fg(Color::Red).bold(),
    };
    let lag = lag_text(node);
    let is_behind = lag.contains("behind");
    let lag_style = if is_behind { Style::new().fg(Color::Yellow) } else { Style::new() };
    let (epoch, log, clients) = match node.role {
        None => (String::new(), String::new(), String::new()),
        Some(_) => (
            node.epoch.to_string(),
            format!("{:.2} MB", node.log_bytes as f64 / 1e6),
            node.clients.to_string(),
        ),
    };
    Row::new([
        Cell::from(node.name.clone()).style(Style::new().bold()),
        Cell::from(node.site.clone()),
        Cell::from(node.part()).style(part),
        Cell::from(epoch),
        Cell::from(log),
        Cell::from(lag).style(lag_style),
        Cell::from(clients),
    ])
}

fn draw_clients(frame: &mut Frame<'_>, area: Rect, clients: &ClientsView) {
    let block = boxed("Clients".to_owned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if clients.writers == 0 {
        frame.render_widget(Paragraph::new("not started yet").dim(), inner);
        return;
    }
    let [words, line] = Layout::horizontal([Constraint::Length(38), Constraint::Min(0)]).areas(inner);
    let rate = match clients.silent {
        _ if clients.ended => Line::from("they have stopped").dim(),
        Some(silent) => {
            let text = format!("no commit for {:.1} s", silent.as_secs_f64());
            Line::from(text).style(Style::new().fg(Color::Red).bold())
        }
        None => Line::from(format!("{} commits/s", clients.commits_per_second()))
            .style(Style::new().fg(Color::Green).bold()),
    };
    let who = format!("{}: {} write, {} read", clients.kind, clients.writers, clients.readers);
    let text = Text::from(vec![
        Line::from(who),
        Line::from(format!("{} transactions committed", clients.committed)),
        rate,
    ]);
    frame.render_widget(Paragraph::new(text), words);
    let steps = clients.steps.len().saturating_sub(usize::from(line.width));
    let shown = Sparkline::default().data(&clients.steps[steps..]).style(Style::new().fg(Color::Green));
    frame.render_widget(shown, line);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, events: &[Event]) {
    let block = boxed("What happens".to_owned()).title_bottom(Line::from(" q quits ").dim().right_aligned());
    let width = usize::from(block.inner(area).width);
    let lines: Vec<Line<'_>> = events.iter().flat_map(|event| event_lines(event, width)).collect();
    // The newest are at the bottom.
    let height = usize::from(block.inner(area).height);
    let surplus = lines.len().saturating_sub(height);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(surplus).collect();
    frame.render_widget(Paragraph::new(shown).block(block), area);
}

/// An event, in as many lines of this width as it takes.
fn event_lines(event: &Event, width: usize) -> Vec<Line<'static>> {
    let color = match event.by {
        Source::Demo => Color::Magenta,
        Source::Cluster => Color::Cyan,
        Source::Observer => Color::Yellow,
    };
    let head = format!("{:>6.1} s  ", event.at.as_secs_f64());
    let by = format!("{:<8} ", event.by.name());
    let indent = head.len() + by.len();
    let pieces = wrapped(&event.text, width.saturating_sub(indent).max(20));
    let line = |(number, piece): (usize, String)| match number {
        0 => Line::from(vec![head.clone().dim(), Span::styled(by.clone(), color), Span::from(piece)]),
        _ => Line::from(format!("{:indent$}{piece}", "")),
    };
    pieces.into_iter().enumerate().map(line).collect()
}

/// A text in lines no longer than so many characters, if its words are not.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
#[path = "screen_test.rs"]
mod tests;
