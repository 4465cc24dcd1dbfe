//! An unmodified ZODB application on the server, with both encodings: `testbed/python/application.py` is that
//! application.

use anyhow::Result;
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::Setup;
use zeo_proto::Encoding;

/// Runs a scenario of the application against an empty database.
fn scenario(name: &str, encoding: Encoding) -> Result<()> {
    let folder = place::scratch(name)?;
    let mut running = Setup::under_test(&folder.path().join("Data.fs"), encoding)?.start()?;
    let said = Script::run("application.py", [name, &running.address.to_string()]);
    let log = running.server.log()?;
    println!("{}", said.map_err(|error| error.context(format!("the server's log:\n{log}")))?);
    running.server.stop()
}

macro_rules! scenarios {
    ($($test:ident: $name:literal)*) => {
        mod with_pickle {
            $(#[test] fn $test() -> anyhow::Result<()> { super::scenario($name, super::Encoding::Pickle) })*
        }
        mod with_msgpack {
            $(#[test] fn $test() -> anyhow::Result<()> { super::scenario($name, super::Encoding::Msgpack) })*
        }
    };
}

scenarios! {
    btrees_are_whole_in_a_second_process_which_is_told_of_changes: "btrees"
    conflicts_of_btrees_and_of_a_class_that_resolves_them_are_resolved: "resolving"
    conflicts_that_nobody_resolves_are_errors_and_the_loser_can_try_again: "conflicting"
    transactions_are_undone_and_redone_and_an_undo_in_the_middle_is_refused: "undo"
    history_has_every_revision_with_its_author: "history"
}
