//! Packs that an operator asked for, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use standby_control::{PackState, PackStatus};
use tracing::info;
use zeo_proto::Tid;

use super::peers::Copies;

use crate::world;

/// By storage: what was done, or why not; `None`: it is under way.
type Ended = BTreeMap<String, Option<Result<String, String>>>;

/// The packs of a node. Clones are the same.
#[derive(Clone)]
pub(crate) struct Packs {
    copies: Copies,
    /// How the last one of each storage ended.
    ended: Arc<Mutex<Ended>>,
}

impl Packs {
    pub(super) fn new(copies: &Copies) -> Self {
        Self { copies: copies.clone(), ended: Arc::default() }
    }

    /// Begins to pack a storage, or all. Which.
    ///
    /// # Errors
    /// There is no such storage, or one is being packed.
    pub(crate) fn begin(&self, storage: Option<&str>, until: Tid, by: &str) -> Result<Vec<String>, String> {
        let names: Vec<String> = match storage {
            Some(name) if self.copies.contains_key(name) => vec![name.to_owned()],
            Some(name) => {
                let known: Vec<&str> = self.copies.keys().map(String::as_str).collect();
                return Err(format!("there is no storage {name:?}: this node has {}", known.join(", ")));
            }
            None => self.copies.keys().cloned().collect(),
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(busy) = names.iter().find(|name| self.is_busy(name, &ended)) {
            return Err(format!("storage {busy} is being packed"));
        }
        for name in &names {
            info!(storage = %name, %until, %by, "an operator asks for a pack");
            ended.insert(name.clone(), None);
            let (service, all, name) =
                (self.copies[name].service().clone(), self.ended.clone(), name.clone());
            world::spawn_blocking(move || {
                let outcome = service.pack(until).map_err(|error| error.to_string());
                let told = outcome.map(|report| match report.packed {
                    None => "there was nothing to pack".to_owned(),
                    Some(packed) => format!(
                        "packed from {} to {} bytes, {} to {} objects, in {:.1} s",
                        packed.bytes_before,
                        packed.bytes_after,
                        packed.objects_before,
                        packed.objects_after,
                        report.took.as_secs_f64()
                    ),
                });
                all.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Some(told));
            });
        }
        Ok(names)
    }

    fn is_busy(&self, name: &str, ended: &Ended) -> bool {
        ended.get(name).is_some_and(Option::is_none) || self.copies[name].service().pack_status().is_some()
    }

    /// How the last pack of each storage stands, where there was one since the node was started.
    pub(crate) fn list(&self) -> Vec<PackStatus> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let of_storage = |name: &String| {
            let running = self.copies[name].service().pack_status();
            let (state, told) = match (ended.get(name), &running) {
                (Some(Some(Ok(told))), None) => (PackState::Done, Some(told.clone())),
                (Some(Some(Err(told))), None) => (PackState::Failed, Some(told.clone())),
                (None, None) => return None,
                _ => (PackState::Running, None),
            };
            Some(PackStatus {
                storage: name.clone(),
                state,
                stage: running.map(|running| format!("{:?}", running.stage).to_lowercase()),
                percent: running.map(|running| running.percent),
                told,
            })
        };
        self.copies.keys().filter_map(of_storage).collect()
    }
}
