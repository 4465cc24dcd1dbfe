//! What must hold at the end.

use std::collections::BTreeMap;
use std::path::Path;

use replica::{NoProgress, OpenOptions, Storage, Tid};
use simulated_world::fs;
use standby_checker::{Stored, Transaction, check, value_of};

use super::Cluster;

impl Cluster {
    pub(super) fn judge(&mut self) {
        let mut logs = Vec::new();
        let mut lost = Vec::new();
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            node.crash(&mut self.sim, &mut self.chance, true);
            node.disk.start();
            let storage = open(&node.log());
            let epochs = storage.lineage().expect("readable").epochs;
            for epoch in epochs.as_slice() {
                let number = self.nodes.iter().position(|node| node.name == epoch.node);
                assert!(number.is_some_and(|number| number < self.voters), "{} was the primary", epoch.node);
            }
            let follows: BTreeMap<Tid, Tid> =
                epochs.as_slice().iter().map(|epoch| (epoch.boundary, epoch.fork)).collect();
            for saved in storage.saved().expect("readable") {
                // Beside it there is to be nothing of ours.
                let copy = saved.path.with_extension("copy");
                fs::copy(&saved.path, &copy).expect("copied");
                lost.push(transactions(&open(&copy), &BTreeMap::new()));
            }
            logs.push(transactions(&storage, &follows));
        }
        assert!(
            logs.windows(2).all(|pair| pair[0] == pair[1]),
            "after a last power failure all have the same"
        );
        let verdict = check(&self.clients.histories(), &logs[0], &lost);
        self.note(&verdict);
        assert!(verdict.is_honest(), "{verdict}");
        // Two have everything that was acknowledged, and each majority of these has one of the two.
        assert_eq!(verdict.counts.acknowledged_lost, 0, "{verdict}");
    }
}

fn open(path: &Path) -> Storage {
    Storage::open(path, &OpenOptions::default(), &NoProgress).expect("it opens").0
}

fn transactions(storage: &Storage, follows: &BTreeMap<Tid, Tid>) -> Vec<Transaction> {
    let all = storage.transactions(None, None).expect("readable");
    all.map(|header| {
        let header = header.expect("readable");
        let records = storage.records(&header).map(|record| record.expect("readable"));
        let writes =
            records.map(|record| Stored { oid: record.oid, value: record.data.as_deref().map(value_of) });
        Transaction { tid: header.tid, writes: writes.collect(), follows: follows.get(&header.tid).copied() }
    })
    .collect()
}
