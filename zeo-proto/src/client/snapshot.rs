use super::{Client, Error, Revision};
use crate::{Oid, Tid};

/// A storage as it was at one moment: whatever is read from it fits together.
#[derive(Clone, Debug)]
pub struct Snapshot {
    client: Client,
    before: Tid,
    history: u64,
}

impl Snapshot {
    pub(super) fn new(client: Client, before: Tid, history: u64) -> Self {
        Self { client, before, history }
    }

    /// Everything before this transaction is in it.
    pub fn before(&self) -> Tid {
        self.before
    }

    /// An object's revision; `None` if it was made later.
    ///
    /// # Errors
    /// Those of [`Client::load_before`]; [`Error::HistoryChanged`] when a server has been found meanwhile whose history
    /// cannot be told to have this moment. Take a new snapshot, and read everything again.
    pub async fn load(&self, oid: Oid) -> Result<Option<Revision>, Error> {
        let loaded = self.client.load_before(oid, self.before).await;
        if self.client.history() != self.history {
            return Err(Error::HistoryChanged);
        }
        loaded
    }
}
