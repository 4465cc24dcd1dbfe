//! What an operator changes, and what becomes of entries that are decided.

use std::time::Duration;

use super::super::decided::Effect;
use super::super::entry::Entry;
use super::super::machine::Event;
use super::super::settings::Change;
use super::world::{Happening, World};
use crate::span;

impl World {
    /// The next entry of the log.
    pub(super) fn decide(&mut self, entry: Entry) {
        let effect = self.decided.apply(&entry);
        if let (Effect::Promoted, Entry::Promote { node, cause, .. }) = (effect, &entry) {
            self.check_promotion(*node, *cause);
        }
        if let (Effect::Changed, Entry::Suspend { .. }) = (effect, &entry) {
            let left =
                self.decided.candidates().filter(|(node, _)| !self.decided.suspended().contains_key(node));
            assert!(left.count() > 0, "the last candidate was banned");
        }
        self.trace(|| format!("decided {entry:?}: {effect:?}"));
        self.log.push(entry);
    }

    /// Settings are decided.
    pub(super) fn set(&mut self, settings: &[(&str, String)]) {
        self.decide(setting(settings));
    }

    /// An operator at a node changes something.
    pub(super) fn change(&mut self, at: usize) {
        let other = self.random.pick(self.sites.len());
        let node = self.sites[other].id;
        let entry = match self.random.below(4) {
            0 | 1 => setting(&[("lease", span::shown(self.random.millis(200, 2500)))]),
            // Where something may be promised, something is all the time.
            2 if self.acks > 0 => setting(&[("acks", (1 + self.random.below(2)).to_string())]),
            2 => return,
            _ => {
                let back = self.random.millis(100, 3000);
                self.later(
                    back,
                    Happening::Proposed { from: at, entry: Entry::Disable { node, disabled: false } },
                );
                Entry::Disable { node, disabled: true }
            }
        };
        self.later(Duration::ZERO, Happening::Proposed { from: at, entry });
    }

    /// The others notice that a node has gone, those that can.
    pub(super) fn tell_of_gone(&mut self, gone: usize) {
        let node = self.sites[gone].id;
        for to in (0..self.sites.len()).filter(|to| *to != gone) {
            let (starts, after) = (self.sites[to].starts, self.random.millis(0, 500));
            if self.sites[to].up && !self.cut.contains(&(gone, to)) {
                self.later(after, Happening::Told { to, starts, event: Event::Gone { node } });
            }
        }
    }
}

fn setting(settings: &[(&str, String)]) -> Entry {
    let change =
        |(name, value): &(&str, String)| Change { name: (*name).to_owned(), value: Some(value.clone()) };
    Entry::Set { changes: settings.iter().map(change).collect() }
}
