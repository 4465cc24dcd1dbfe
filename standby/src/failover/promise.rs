//! Which nodes must answer before it is known that nothing that was acknowledged is lost.
//!
//! A primary answers its clients when so many replicas have their transaction, as its last lease says. What it answered before
//! that number was raised, or before a node was taken out, may be on other or fewer nodes: the promise is the weaker one, until
//! the primary has seen that everything is where the new one says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::entry::{Acknowledged, NodeId};

/// Every transaction that counts is on the primary that answered it and on so many of these nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    needed: usize,
    among: BTreeSet<NodeId>,
}

impl Promise {
    /// On so many; 0: nothing is promised.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// Nodes that may have what others do not.
    pub fn among(&self) -> &BTreeSet<NodeId> {
        &self.among
    }

    /// A node may have what others do not, from now on.
    pub(super) fn add(&mut self, node: NodeId) {
        self.among.insert(node);
    }

    /// Nothing that was promised counts any more; from now on it is among these.
    pub(super) fn begin_anew(&mut self, among: BTreeSet<NodeId>) {
        *self = Self { needed: 0, among };
    }

    /// A lease says what is in force while it is the last one; `is_everywhere`: everything that was ever answered is on so many
    /// of these nodes by now.
    pub(super) fn renew(
        &mut self,
        Acknowledged { needed, .. }: Acknowledged,
        is_everywhere: bool,
        locals: impl Iterator<Item = NodeId>,
    ) {
        if is_everywhere {
            (self.needed, self.among) = (needed, locals.collect());
        } else if self.needed == 0 || needed < self.needed {
            self.needed = needed;
        }
    }

    /// So many of the nodes but the primary must answer: one of them has any transaction that was acknowledged.
    pub(super) fn must_answer(&self, primary: Option<NodeId>) -> usize {
        let replicas = self.among.iter().filter(|node| Some(**node) != primary).count();
        (replicas + 1).saturating_sub(self.needed).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(needed: usize, nodes: u64) -> Promise {
        Promise { needed, among: (1..=nodes).map(NodeId).collect() }
    }

    fn renewed(before: &Promise, needed: usize, is_everywhere: bool) -> Promise {
        let mut promise = before.clone();
        let locals = (1..=3).map(NodeId);
        promise.renew(Acknowledged { needed, everywhere: None }, is_everywhere, locals);
        promise
    }

    #[test]
    fn the_weaker_promise_counts_until_everything_is_where_the_stronger_one_says() {
        assert_eq!(
            renewed(&promise(0, 3), 2, false).needed(),
            2,
            "what was answered before was not promised"
        );
        assert_eq!(renewed(&promise(2, 3), 1, false).needed(), 1);
        assert_eq!(renewed(&promise(1, 3), 2, false).needed(), 1);
        assert_eq!(renewed(&promise(1, 4), 2, true), promise(2, 3));
        assert_eq!(renewed(&promise(1, 3), 0, false).needed(), 0);
    }

    #[test]
    fn so_many_must_answer_that_one_of_them_has_it() {
        assert_eq!(promise(1, 4).must_answer(Some(NodeId(1))), 3);
        assert_eq!(promise(2, 4).must_answer(Some(NodeId(1))), 2);
        assert_eq!(promise(2, 4).must_answer(None), 3);
        assert_eq!(promise(9, 4).must_answer(Some(NodeId(1))), 1);
    }
}
