//! Beginning a log: a cluster's first, or the next one of a cluster that has lost the majority of its voters.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::charter::Charter;
use super::control::{Control, ControlError, Key};
use crate::failover::entry::{Entry, NodeId};

/// What a new log begins with. It is kept until all of it is decided, so that a crash cannot leave half a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// Who begins it.
    pub by: String,
    /// Its first entries.
    pub entries: Vec<Entry>,
}

/// Nodes elsewhere, HOST:PORT of their peer listeners.
pub type Addresses = BTreeSet<String>;

/// The node whose file this is: a new one where there was none.
///
/// # Errors
/// The file cannot be read or written.
pub fn node_of(path: &Path) -> Result<NodeId, ControlError> {
    Control::open(path)?.node()
}

/// Makes a new cluster in this file, which must not belong to one.
///
/// # Errors
/// It belongs to one already: which. Or the file cannot be written.
pub fn found(path: &Path, cluster: u64, founding: &Founding) -> Result<Result<(), Charter>, ControlError> {
    let control = Control::open(path)?;
    if let Some(known) = control.get(Key::Charter)? {
        return Ok(Err(known));
    }
    begin_anew(&control, Charter { cluster, generation: 0 }, Some(founding), &Addresses::new())?;
    Ok(Ok(()))
}

/// Begins the next generation in this file. The nodes there are told of it.
///
/// # Errors
/// The file cannot be written.
pub fn refound(path: &Path, founding: &Founding, others: &Addresses) -> Result<Charter, ControlError> {
    let control = Control::open(path)?;
    let known: Charter = control.get(Key::Charter)?.unwrap_or(Charter { cluster: 0, generation: 0 });
    let next = Charter { generation: known.generation + 1, ..known };
    begin_anew(&control, next, Some(founding), others)?;
    Ok(next)
}

/// Forgets the log that this node took part in: it joins a later generation of it, whose nodes are there.
///
/// # Errors
/// The file cannot be written.
pub fn give_up(path: &Path, later: Charter, others: &Addresses) -> Result<(), ControlError> {
    begin_anew(&Control::open(path)?, later, None, others)
}

/// All at once: votes and entries of one log mean nothing in another.
fn begin_anew(
    control: &Control,
    charter: Charter,
    founding: Option<&Founding>,
    others: &Addresses,
) -> Result<(), ControlError> {
    control.write(true, |write| {
        write.remove_entries(..)?;
        const OF_THE_LOG: [Key; 7] =
            [Key::Vote, Key::Purged, Key::Committed, Key::State, Key::History, Key::Snapshot, Key::Founding];
        for key in OF_THE_LOG {
            write.remove(key)?;
        }
        if let Some(founding) = founding {
            write.put(Key::Founding, founding)?;
        }
        write.put(Key::Charter, &charter)?;
        write.put(Key::Others, others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_begun_anew_keeps_the_node_and_the_cluster_and_nothing_of_the_old_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.redb");
        let founding = Founding { by: "a test".into(), entries: vec![Entry::Pause { paused: true }] };
        assert_eq!(found(&path, 7, &founding).expect("written"), Ok(()));
        let first = Charter { cluster: 7, generation: 0 };
        assert_eq!(found(&path, 8, &founding).expect("read"), Err(first), "it is one already");
        let control = Control::open(&path).expect("there");
        control
            .write(true, |write| {
                write.put(Key::Node, &9)?;
                write.put(Key::Vote, &"promised")?;
                write.put_entry(4, &"an entry")
            })
            .expect("written");
        drop(control);
        let others = Addresses::from(["b:8200".to_owned()]);
        let next = refound(&path, &founding, &others).expect("written");
        assert_eq!(next, Charter { cluster: 7, generation: 1 });
        let control = Control::open(&path).expect("there");
        assert_eq!(control.get(Key::Node).expect("read"), Some(9));
        assert_eq!(control.get::<String>(Key::Vote).expect("read"), None);
        assert_eq!(control.last_entry::<String>().expect("read"), None);
        assert_eq!(control.get(Key::Founding).expect("read"), Some(founding));
        assert_eq!(control.get(Key::Others).expect("read"), Some(others));
    }
}
