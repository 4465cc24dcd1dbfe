use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use standby_admin::client::Client;
use standby_control::{HistoryEntry, Lag, NodeStatus, Role};

use super::background::Background;
use super::board::Board;
use super::view::{NodeView, STEP, Source, role_name};

/// A node that does not answer within this is shown as gone.
const PATIENCE: Duration = Duration::from_millis(800);

/// A node to be looked at: its name, its site, and its control API.
pub type Observed = (String, String, Client);

/// Asks all nodes how they are, and puts that on the board.
pub fn start(board: Arc<Board>, nodes: Vec<Observed>) -> Result<Background> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut known = Vec::new();
    Background::start("observer", STEP, move || runtime.block_on(look(&board, &nodes, &mut known)))
}

/// Looks once. `known`: the happenings that were told already.
async fn look(board: &Board, nodes: &[Observed], known: &mut Vec<HistoryEntry>) {
    if board.view().nodes.iter().any(|node| node.stopped) {
        return;
    }
    let mut answers = tokio::task::JoinSet::new();
    for (number, (_, _, client)) in nodes.iter().enumerate() {
        let client = client.clone();
        answers.spawn(async move {
            let status = tokio::time::timeout(PATIENCE, client.status()).await.ok()?.ok()?;
            Some((number, status))
        });
    }
    let mut statuses: Vec<Option<NodeStatus>> = nodes.iter().map(|_| None).collect();
    for (number, status) in answers.join_all().await.into_iter().flatten() {
        statuses[number] = Some(status);
    }
    let seen = seen(nodes, &statuses);
    let before = board.change(|view| {
        if view.nodes.iter().any(|node| node.stopped) {
            return seen.clone(); // which was not known yet when they were asked
        }
        view.epoch = seen.iter().map(|node| node.epoch).fold(view.epoch, u64::max);
        std::mem::replace(&mut view.nodes, seen.clone())
    });
    for change in changes(&before, &seen) {
        board.tell(Source::Observer, change);
    }
    let asked = nodes.iter().zip(&statuses).find(|(_, status)| status.is_some());
    if let Some(((_, _, client), _)) = asked
        && let Ok(Ok(history)) = tokio::time::timeout(PATIENCE, client.history()).await
    {
        for happening in history.happenings {
            // One that is a little behind tells them later.
            if !known.contains(&happening) {
                board.tell(Source::Cluster, happening.text.clone());
                known.push(happening);
            }
        }
    }
}

/// What is shown of the nodes, from what they say.
fn seen(nodes: &[Observed], statuses: &[Option<NodeStatus>]) -> Vec<NodeView> {
    let lag = |name: &str| -> Option<Lag> {
        // Of two that say so, the primary knows better.
        let follower = |status: &&NodeStatus| {
            let followers = &status.storages.first()?.followers;
            // Before transactions flow, what it lacks is still being found out.
            let follower = followers.iter().find(|follower| follower.node == name && follower.flowing)?;
            Some(follower.lag)
        };
        let mut told: Vec<&NodeStatus> = statuses.iter().flatten().collect();
        told.sort_by_key(|status| status.role != Role::Primary);
        told.iter().find_map(follower)
    };
    let view = |((name, site, _), status): (&Observed, &Option<NodeStatus>)| {
        let mut view = NodeView { name: name.clone(), site: site.clone(), ..NodeView::default() };
        if let Some(status) = status {
            view.role = Some(status.role);
            view.lag = lag(name);
            if let Some(storage) = status.storages.first() {
                (view.epoch, view.log_bytes, view.clients) =
                    (storage.epoch, storage.log_bytes, storage.clients);
            }
        }
        view
    };
    nodes.iter().zip(statuses).map(view).collect()
}

/// What has become of the nodes since, in words.
fn changes(before: &[NodeView], now: &[NodeView]) -> Vec<String> {
    let change = |node: &NodeView| {
        let was = before.iter().find(|other| other.name == node.name).and_then(|other| other.role);
        match (was, node.role) {
            (was, is) if was == is => None,
            (Some(_), None) => Some(format!("{} does not answer", node.name)),
            (None, is) => Some(format!("{} answers: {}", node.name, role_name(is))),
            (was, is) => Some(format!("{} was {}, and is {}", node.name, role_name(was), role_name(is))),
        }
    };
    now.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: Option<Role>) -> NodeView {
        NodeView { name: name.to_owned(), role, ..NodeView::default() }
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let before = [node("a", Some(Role::Primary)), node("b", Some(Role::Replica)), node("c", None)];
        let now = [node("a", None), node("b", Some(Role::Primary)), node("c", Some(Role::Replica))];
        assert!(changes(&before, &before).is_empty());
        let told = ["a does not answer", "b was replica, and is PRIMARY", "c answers: replica"];
        assert_eq!(changes(&before, &now), told);
    }
}
