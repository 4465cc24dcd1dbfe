//! What the tests of packs share.

use std::collections::HashMap;

use replica::{NoProgress, Oid, PackOptions, PackStage, Packed, Progress, Storage, Tid};

use super::Site;

/// A record of class `app.C` that refers to these objects.
pub fn record(references: &[u64], payload: &str) -> Vec<u8> {
    let mut data = b"\x80\x03capp\nC\nq\x01.\x80\x03}q\x02(".to_vec();
    for (at, oid) in references.iter().enumerate() {
        let key = format!("r{at}");
        data.extend([b'X', key.len() as u8, 0, 0, 0]);
        data.extend(key.as_bytes());
        data.extend(b"C\x08");
        data.extend(oid.to_be_bytes());
        data.extend(b"h\x01\x86Q");
    }
    data.extend(b"X\x01\0\0\0pX");
    data.extend((payload.len() as u32).to_le_bytes());
    data.extend(payload.as_bytes());
    data.extend(b"u.");
    data
}

pub fn pack(site: &Site, until: Tid) -> Packed {
    site.storage.pack(until, PackOptions::default(), &NoProgress).expect("packed").packed.expect("something")
}

/// The current data of all objects.
pub fn objects(storage: &Storage) -> HashMap<Oid, (Tid, Vec<u8>)> {
    let mut all = HashMap::new();
    let mut next = Some(Oid::ROOT);
    let mut data = Vec::new();
    while let Some(from) = next {
        let Some(record) = storage.next_record(Some(from), &mut data).expect("readable") else { break };
        all.insert(record.oid, (record.serial, data.clone()));
        next = record.next;
    }
    all
}

/// Does something when a pack comes to a stage.
pub struct At<F: Fn(PackStage) + Send + Sync>(pub F);

impl<F: Fn(PackStage) + Send + Sync> Progress for At<F> {
    fn packing(&self, stage: PackStage, _: u64, _: u64) {
        (self.0)(stage);
    }
}
