//! What has happened, as the control API tells it.

use standby_control::HistoryEntry;

use crate::failover::entry::Cause;
use crate::failover::history::{Changed, Happening, What};

pub(super) fn shown(happening: &Happening) -> HistoryEntry {
    let details = serde_json::to_value(&happening.what).expect("it can be written as JSON");
    HistoryEntry {
        at: happening.at_millis as f64 / 1000.0,
        by: happening.by.clone(),
        text: text(&happening.what),
        details,
    }
}

fn text(what: &What) -> String {
    match what {
        What::Created => "the cluster was made".to_owned(),
        What::Joined { node, group } => format!("{node} joined, in group {group}"),
        What::Changed { node, group } => format!("{node} changed, in group {group}"),
        What::Removed { node } => format!("{node} was removed"),
        What::Promoted { node, from, epoch, cause } => {
            let why = match cause {
                Cause::Failover => "failover: the lease of the primary before it ended",
                Cause::Switchover => "switchover",
                Cause::Operator => "by an operator",
            };
            let from = from.as_deref().map(|from| format!(" after {from}")).unwrap_or_default();
            format!("{node} is to be the primary{from}, epoch {epoch} ({why})")
        }
        What::Began { node, epoch, after_millis } => match after_millis {
            Some(millis) => {
                format!(
                    "{node} commits, epoch {epoch}, {:.1} s after the last lease before",
                    *millis as f64 / 1000.0
                )
            }
            None => format!("{node} commits, epoch {epoch}"),
        },
        What::Paused { paused: true } => "automatic failover was turned off".to_owned(),
        What::Paused { paused: false } => "automatic failover was turned on".to_owned(),
        What::Banned { node, banned: true } => format!("{node} was banned"),
        What::Banned { node, banned: false } => format!("{node} was let in again"),
        What::Suspended { node, times } => {
            format!("{node} was banned for a while: it has come and gone {times} times")
        }
        What::Lifted { node } => format!("the ban of {node}, which had come and gone, has ended"),
        What::Disabled { node, disabled: true } => format!("{node} was disabled"),
        What::Disabled { node, disabled: false } => format!("{node} was enabled"),
        What::Set { changes } => {
            let shown =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "as the files say".to_owned());
            let change = |change: &Changed| {
                format!("{}: {} → {}", change.name, shown(&change.from), shown(&change.to))
            };
            changes.iter().map(change).collect::<Vec<_>>().join("; ")
        }
        What::Lost { node, storage, transactions, file } => {
            format!(
                "{node} took back {transactions} transactions of storage {storage} that were lost, and saved them in {file}"
            )
        }
    }
}
