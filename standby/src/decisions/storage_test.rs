//! `openraft`'s own suite of tests for storages, on ours.

use openraft::testing::{StoreBuilder, Suite};

use super::control::Control;
use super::log::DecidedLog;
use super::state::DecidedState;
use super::types::{StorageError, Types};

struct Builder;

impl StoreBuilder<Types, DecidedLog, DecidedState, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, DecidedLog, DecidedState), StorageError> {
        let folder = tempfile::tempdir().expect("a folder");
        let control = Control::open(&folder.path().join("control.redb")).expect("made");
        let (state, _) = DecidedState::open(control.clone()).expect("readable");
        Ok((folder, DecidedLog::new(control), state))
    }
}

#[test]
fn the_storage_is_what_openraft_relies_on() {
    Suite::test_all(Builder).expect("every test of the suite passes");
}
