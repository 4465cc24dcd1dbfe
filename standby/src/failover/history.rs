//! What has happened to the cluster, for its operators: made from the decided entries, so the same on every node.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decided::{Decided, Effect};
use super::entry::{Cause, Entry, NodeId};
use super::loss::Loss;
use super::settings;

/// Older happenings are forgotten.
const KEPT: usize = 1_000;
/// Of older losses it is not known any more what they were.
const LOSSES_KEPT: usize = 32;

/// An entry, with when and by whom it was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// On the proposer's wall clock, in milliseconds since 1970. For operators: nothing is decided by it.
    pub at_millis: u64,
    /// A node, or an operator at one.
    pub by: String,
    /// What is proposed.
    pub entry: Entry,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When, on a clock of the node that proposed it, in milliseconds since 1970.
    pub at_millis: u64,
    /// A node, or an operator at one.
    pub by: String,
    /// What.
    pub what: What,
}

/// What happened. Nodes are named as they were then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum What {
    /// The cluster was made.
    Created,
    /// A node joined.
    Joined {
        /// Its name.
        node: String,
        /// Its group.
        group: String,
    },
    /// A node came back as another, or with another configuration.
    Changed {
        /// Its name.
        node: String,
        /// Its group.
        group: String,
    },
    /// A node was removed.
    Removed {
        /// Its name.
        node: String,
    },
    /// A node became the primary.
    Promoted {
        /// Its name.
        node: String,
        /// The primary before it.
        from: Option<String>,
        /// The number of its reign.
        epoch: u64,
        /// Why.
        cause: Cause,
    },
    /// It commits.
    Began {
        /// Its name.
        node: String,
        /// The number of its reign.
        epoch: u64,
        /// So long after the last lease of the primary before it was proposed.
        after_millis: Option<u64>,
    },
    /// Automatic failover was turned off, or on again.
    Paused {
        /// It is off.
        paused: bool,
    },
    /// A node may no longer be promoted by itself, or may again.
    Banned {
        /// Its name.
        node: String,
        /// It may not.
        banned: bool,
    },
    /// A node comes and goes: for a while it is promoted only where no other can be.
    Suspended {
        /// Its name.
        node: String,
        /// So often it has gone.
        times: u64,
    },
    /// That while has passed.
    Lifted {
        /// Its name.
        node: String,
    },
    /// A node counts for nothing, or counts again.
    Disabled {
        /// Its name.
        node: String,
        /// It does not count.
        disabled: bool,
    },
    /// Settings have changed.
    Set {
        /// Which, from what to what.
        changes: Vec<Changed>,
    },
    /// A node had transactions that nobody else has: it saved them, and took them back.
    Lost {
        /// Its name.
        node: String,
        /// The storage.
        storage: String,
        /// How many.
        transactions: u64,
        /// Where it saved them.
        file: String,
    },
}

/// A setting that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// What was decided before; `None`: nothing.
    pub from: Option<String>,
    /// What is decided now; `None`: nothing.
    pub to: Option<String>,
}

/// The last happenings, oldest first. Clones share them until one of them changes: leases are renewed all the time, and do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    happenings: Arc<VecDeque<Happening>>,
    /// With the names of their storages.
    losses: Arc<VecDeque<(String, Arc<Loss>)>>,
}

impl History {
    /// The last ones, oldest first.
    pub fn happenings(&self) -> impl DoubleEndedIterator<Item = &Happening> {
        self.happenings.iter()
    }

    /// What was lost in the last failovers, oldest first, with the names of the storages.
    pub fn losses(&self) -> impl Iterator<Item = (&str, &Arc<Loss>)> {
        self.losses.iter().map(|(storage, loss)| (storage.as_str(), loss))
    }

    /// What happened before is forgotten; `None`: nothing is.
    pub fn forgets_before_millis(&self) -> Option<u64> {
        let first = self.happenings.front().filter(|_| self.happenings.len() >= KEPT)?;
        Some(first.at_millis)
    }

    /// Whether nothing has happened to one since it was a clone of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.happenings, &other.happenings) && Arc::ptr_eq(&self.losses, &other.losses)
    }

    /// Something has happened.
    pub fn add(&mut self, happening: Happening) {
        let happenings = Arc::make_mut(&mut self.happenings);
        happenings.push_back(happening);
        while happenings.len() > KEPT {
            happenings.pop_front();
        }
    }

    /// This was lost.
    pub fn lose(&mut self, storage: &str, loss: &Arc<Loss>) {
        let losses = Arc::make_mut(&mut self.losses);
        losses.push_back((storage.to_owned(), Arc::clone(loss)));
        while losses.len() > LOSSES_KEPT {
            losses.pop_front();
        }
    }
}

/// What is made of the entries, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chronicler {
    /// When the last lease was proposed, in milliseconds since 1970, and that of the reign before.
    renewed: Option<u64>,
    renewed_before: Option<u64>,
}

impl Chronicler {
    /// What happened with an entry that did this, if that is worth telling.
    pub fn tell(
        &mut self,
        stamped: &Stamped,
        effect: Effect,
        before: &Decided,
        after: &Decided,
    ) -> Option<Happening> {
        match effect {
            Effect::None => None,
            Effect::Renewed => {
                self.renewed = Some(stamped.at_millis);
                None
            }
            Effect::Promoted | Effect::Changed => {
                let what = self.what(stamped, before, after)?;
                Some(Happening { at_millis: stamped.at_millis, by: stamped.by.clone(), what })
            }
        }
    }

    fn what(&mut self, stamped: &Stamped, before: &Decided, after: &Decided) -> Option<What> {
        let name = |node: &NodeId| name_of(*node, after).or_else(|| name_of(*node, before));
        Some(match &stamped.entry {
            Entry::Create { .. } => What::Created,
            Entry::Join { member, .. } => {
                let (node, group) = (member.name.clone(), member.group.clone());
                let known = before.members().values().any(|other| other.name == member.name);
                if known { What::Changed { node, group } } else { What::Joined { node, group } }
            }
            Entry::Leave { node } => What::Removed { node: name(node)? },
            Entry::Promote { node, cause, .. } => {
                self.renewed_before = self.renewed.take();
                let from = before.reign().and_then(|reign| name_of(reign.primary, before));
                What::Promoted { node: name(node)?, from, epoch: after.mark().epoch, cause: *cause }
            }
            Entry::Began { epoch } => {
                let primary = after.reign()?.primary;
                let since = self.renewed_before.map(|renewed| stamped.at_millis.saturating_sub(renewed));
                What::Began { node: name(&primary)?, epoch: *epoch, after_millis: since }
            }
            Entry::Pause { paused } => What::Paused { paused: *paused },
            Entry::Ban { node, banned } => What::Banned { node: name(node)?, banned: *banned },
            Entry::Suspend { node, times } => What::Suspended { node: name(node)?, times: *times },
            Entry::Lift { node, .. } => What::Lifted { node: name(node)? },
            Entry::Disable { node, disabled } => What::Disabled { node: name(node)?, disabled: *disabled },
            Entry::Set { .. } => What::Set { changes: changes(before, after) },
            Entry::Lost { node, storage, transactions, file, loss: _ } => What::Lost {
                node: name(node)?,
                storage: storage.clone(),
                transactions: *transactions,
                file: file.clone(),
            },
            Entry::Renew { .. } | Entry::Release { .. } => return None,
        })
    }
}

/// The settings that are others than before.
fn changes(before: &Decided, after: &Decided) -> Vec<Changed> {
    let changed = settings::all().into_iter().filter_map(|definition| {
        let of = |decided: &Decided| decided.settings().get(definition.setting).map(ToString::to_string);
        let (from, to) = (of(before), of(after));
        (from != to).then(|| Changed { name: definition.name.to_owned(), from, to })
    });
    changed.collect()
}

fn name_of(node: NodeId, decided: &Decided) -> Option<String> {
    decided.members().get(&node).map(|member| member.name.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::entry::{Acknowledged, Ceilings, LeaseMark, Member};
    use super::super::settings::Change;
    use super::*;

    fn noted(entries: &[(u64, Entry)]) -> History {
        let (mut decided, mut history, mut chronicler) =
            (Decided::default(), History::default(), Chronicler::default());
        for (at_millis, entry) in entries {
            let before = decided.clone();
            let effect = decided.apply(entry);
            let stamped = Stamped { at_millis: *at_millis, by: "a".into(), entry: entry.clone() };
            let unchanged = history.clone();
            match chronicler.tell(&stamped, effect, &before, &decided) {
                Some(happening) => history.add(happening),
                None => assert!(history.is_same(&unchanged)),
            }
        }
        history
    }

    fn join(number: u64, name: &str) -> Entry {
        let (name, group) = (name.to_owned(), "here".to_owned());
        let member = Member { name, group, electable: true, voter: true, priority: 0 };
        Entry::Join { node: NodeId(number), member }
    }

    fn promote(number: u64, epoch: u64, seq: u64) -> Entry {
        let after = LeaseMark { epoch, seq };
        Entry::Promote { node: NodeId(number), after, cause: Cause::Failover, used: None }
    }

    fn renew(epoch: u64, seq: u64) -> Entry {
        let mark = LeaseMark { epoch, seq };
        let (lease, ceilings, acks) = (Duration::from_secs(1), Ceilings::default(), Acknowledged::default());
        Entry::Renew { mark, start: 0, lease, ceilings, acks }
    }

    #[test]
    fn a_failover_is_told_with_how_long_nobody_committed() {
        let history = noted(&[
            (0, join(1, "a")),
            (1, join(2, "b")),
            (2, promote(1, 0, 0)),
            (3, Entry::Began { epoch: 1 }),
            (1000, renew(1, 1)),
            (3000, promote(2, 1, 1)),
            (3100, promote(1, 1, 1)), // has no effect
            (3200, renew(2, 1)),
            (3500, Entry::Began { epoch: 2 }),
        ]);
        let told: Vec<&What> = history.happenings().rev().take(2).map(|happening| &happening.what).collect();
        assert_eq!(*told[0], What::Began { node: "b".into(), epoch: 2, after_millis: Some(2500) });
        let (node, from, cause) = ("b".to_owned(), Some("a".to_owned()), Cause::Failover);
        assert_eq!(*told[1], What::Promoted { node, from, epoch: 2, cause });
        assert_eq!(history.happenings().count(), 6);
    }

    #[test]
    fn a_node_that_was_removed_is_named_and_old_happenings_are_forgotten() {
        let mut entries = vec![(0, join(1, "a")), (1, Entry::Leave { node: NodeId(1) })];
        let removed = noted(&entries);
        let last = removed.happenings().next_back().expect("some");
        assert_eq!(last.what, What::Removed { node: "a".into() });
        entries.extend((0..2000).map(|round| (round, Entry::Pause { paused: round % 2 == 0 })));
        assert_eq!(noted(&entries).happenings().count(), KEPT);
    }

    #[test]
    fn settings_are_told_with_what_they_were_before() {
        let set = |name: &str, value: Option<&str>| {
            let (name, value) = (name.to_owned(), value.map(str::to_owned));
            Entry::Set { changes: vec![Change { name, value }] }
        };
        let entries = [
            (0, set("lease", Some("2000ms"))),
            (1, set("lease", Some("2s"))), // the same
            (2, set("acks", Some("many"))),
            (3, set("lease", Some("3s"))),
            (4, set("lease", None)),
        ];
        let told: Vec<What> = noted(&entries).happenings().map(|happening| happening.what.clone()).collect();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let lease = |from, to| What::Set {
            changes: vec![Changed { name: "lease".into(), from: text(from), to: text(to) }],
        };
        assert_eq!(told, [lease(None, Some("2s")), lease(Some("2s"), Some("3s")), lease(Some("3s"), None)]);
    }
}
