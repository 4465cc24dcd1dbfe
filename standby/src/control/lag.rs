//! How far followers are behind: for the status, and in the log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use replica::{ReadError, Storage};
use standby_control::Lag;
use tracing::{info, warn};
use zeo_proto::Tid;

use crate::node::Copies;
use crate::world;

/// What a follower lacks is counted up to here.
const COUNT_MAX: u64 = 1_000_000;
/// How often the log's writer looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A follower that is behind by more is written of, again and again at this distance.
const BEHIND: Duration = Duration::from_secs(10);
const AGAIN_EVERY: Duration = Duration::from_secs(60);

/// What a copy lacks that ends with `durable`. May wait for the disk.
pub(super) fn lag(storage: &Storage, durable: Tid) -> Result<Lag, ReadError> {
    let beyond = storage.beyond(durable, COUNT_MAX)?;
    let age = beyond.first.and_then(Tid::to_time).map(|first| world::now().duration_since(first));
    Ok(Lag {
        transactions: beyond.transactions,
        more: !beyond.counted,
        bytes: beyond.bytes,
        seconds: age.map_or(0.0, |age| age.unwrap_or_default().as_secs_f64()),
    })
}

/// Writes of followers that are behind, and of those that have caught up, until the task is dropped.
pub async fn keep_lag_log(copies: Copies) {
    let mut written: BTreeMap<(String, String), SystemTime> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let copies = copies.clone();
        let look = world::spawn_blocking(move || look(&copies));
        let Ok(Ok(found)) = look.await else { continue }; // whoever serves reads says so
        written.retain(|who, _| found.contains_key(who));
        for (who, lag) in found {
            let (storage, node) = (who.0.clone(), who.1.clone());
            let Lag { transactions, bytes, seconds, .. } = lag;
            let now = world::now();
            let known = written.get(&who).copied();
            if seconds > BEHIND.as_secs_f64() {
                let again =
                    |known: SystemTime| now.duration_since(known).is_ok_and(|since| since > AGAIN_EVERY);
                if known.is_none_or(again) {
                    warn!(%storage, %node, transactions, bytes, seconds, "a follower is behind");
                    written.insert(who, now);
                }
            } else if known.is_some() && transactions == 0 {
                info!(%storage, %node, "a follower has caught up");
                written.remove(&who);
            }
        }
    }
}

/// What followers lack, by storage and node.
fn look(copies: &Copies) -> Result<BTreeMap<(String, String), Lag>, ReadError> {
    let mut found = BTreeMap::new();
    for copy in copies.values() {
        for follower in copy.followers().list().into_iter().filter(|follower| follower.reached.flowing) {
            let lag = lag(copy.service().storage(), follower.reached.durable)?;
            found.insert((copy.name().to_owned(), follower.peer.node), lag);
        }
    }
    Ok(found)
}
