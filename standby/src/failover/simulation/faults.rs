//! What goes wrong, and when.

use std::time::Duration;

use super::super::entry::Entry;
use super::super::machine::Event;
use super::world::{Happening, World};

impl World {
    /// Something goes wrong, or right again.
    pub(super) fn disturb(&mut self) {
        let node = self.random.pick(self.sites.len());
        let kinds = 14 + if self.changes { 2 } else { 0 } + u64::from(self.disks_fail);
        match self.random.below(kinds) {
            0 | 1 => self.crash(node, false),
            2 => {
                // One is enough: what only two had may be gone with two.
                let loses_disk = self.random.one_in(6) && self.may_lose_disk && !self.disk_lost;
                self.crash(node, loses_disk);
            }
            3 => {
                // A clean stop.
                self.tell(node, Event::Stop);
                self.crash(node, false);
            }
            4 | 5 => {
                let stalls = self.random.millis(50, 4000);
                self.sites[node].paused_until = self.now + stalls;
                self.trace(|| format!("{} stands still for {stalls:?}", self.sites[node].name));
            }
            6 => self.cut_off(node, true),
            7 => self.cut_off(node, false),
            8 => self.split(),
            9 | 10 => self.operate(node),
            11 => {
                let jump = self.random.below(2_000_000) as i64 - 1_000_000;
                self.sites[node].skew_micros =
                    (self.sites[node].skew_micros + jump).clamp(-3_000_000, 3_000_000);
            }
            14 | 15 if self.changes => self.change(node),
            14.. => self.fail_disk(node),
            _ => self.heal(),
        }
        let next = self.random.millis(20, 1500);
        self.later(next, Happening::Disturb);
    }

    /// An operator wants another primary.
    pub(super) fn operate(&mut self, node: usize) {
        let Some(to) = self.sites.get(node).filter(|site| site.has_copy && site.is_local()) else { return };
        let (to, within) = (to.id, self.random.millis(20, 2000));
        if self.acks == 0 && !self.only_switchovers && self.random.one_in(4) {
            // May lose what that one does not have: not where everything that was acknowledged must stay.
            let asked = self.random.pick(self.sites.len());
            return self.tell(asked, Event::Promote { node: to, within });
        }
        for asked in 0..self.sites.len() {
            self.tell(asked, Event::HandOver { to, within });
        }
    }

    fn crash(&mut self, node: usize, loses_disk: bool) {
        self.go_down(node, loses_disk);
        let down =
            if self.random.one_in(3) { self.random.millis(0, 6000) } else { self.random.millis(0, 400) };
        self.later(down, Happening::Start { node });
    }

    /// What it writes from now on is not durable, and it knows; until somebody starts it anew.
    fn fail_disk(&mut self, node: usize) {
        self.trace(|| format!("the disk of {} fails", self.sites[node].name));
        if let Some(memory) = &mut self.sites[node].memory {
            memory.disk_failed = true;
        }
    }

    /// Its links fail, in both directions or in one.
    fn cut_off(&mut self, node: usize, both: bool) {
        let outward = self.random.one_in(2);
        for other in 0..self.sites.len() {
            if both || outward {
                self.cut.insert((node, other));
            }
            if both || !outward {
                self.cut.insert((other, node));
            }
        }
    }

    fn split(&mut self) {
        let sides = self.random.next();
        for a in 0..self.sites.len() {
            for b in 0..self.sites.len() {
                if (sides >> a) & 1 != (sides >> b) & 1 {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Everything works from now on.
    pub(super) fn end_of_trouble(&mut self) {
        self.heal();
        self.loses_messages = false;
        // What an operator wanted to take back could not be decided when there was no majority.
        for id in self.sites.iter().map(|site| site.id).collect::<Vec<_>>() {
            self.decide(Entry::Disable { node: id, disabled: false });
        }
        for node in 0..self.sites.len() {
            self.sites[node].paused_until = Duration::ZERO;
            if self.sites[node].has_failed() {
                self.go_down(node, false);
            }
            if !self.sites[node].up {
                self.later(Duration::ZERO, Happening::Start { node });
            }
        }
    }
}
