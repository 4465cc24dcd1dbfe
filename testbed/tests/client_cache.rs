//! Persistent client caches of stock clients across restarts of the server: verified by `getInvalidations`, with
//! hits counted, not cleared. `testbed/python/cache.py` is the client.

use anyhow::Result;
use standby_testbed::place;
use standby_testbed::script::Script;
use standby_testbed::server::{Setup, free_port};
use zeo_proto::Encoding;

/// A client that stays connects again by itself; one that comes back brings its cache file.
fn caches_survive(encoding: Encoding) -> Result<()> {
    let folder = place::scratch("cache")?;
    let cache = folder.path().join("client");
    std::fs::create_dir(&cache)?;
    let cache = cache.to_str().expect("the folder's name is text");
    let mut setup = Setup::under_test(&folder.path().join("Data.fs"), encoding)?;
    setup.port = free_port()?;
    let mut running = setup.start()?;
    let address = running.address.to_string();
    let address = address.as_str();

    Script::run("cache.py", ["fill", address])?;
    Script::run("cache.py", ["comes-back", address, cache, "all"])?;
    Script::run("cache.py", ["comes-back", address, cache, "0"])?;

    let mut stays = Script::start("cache.py", ["stays", address, cache])?;
    stays.hear("cache is full")?;
    running.server.stop()?;
    running = setup.start()?;
    stays.tell("restarted")?;
    stays.end()?;

    Script::run("cache.py", ["change", address])?;
    running.server.stop()?;
    running = setup.start()?;
    Script::run("cache.py", ["comes-back", address, cache, "3"])?;

    // After a crash, with a cache of its own: a stock cache that wrote after it was opened anew has dropped objects.
    let other_cache = folder.path().join("other-client");
    std::fs::create_dir(&other_cache)?;
    let other_cache = other_cache.to_str().expect("the folder's name is text");
    Script::run("cache.py", ["comes-back", address, other_cache, "all"])?;
    running.server.kill()?;
    running = setup.start()?;
    Script::run("cache.py", ["comes-back", address, other_cache, "0"])?;
    running.server.stop()
}

#[test]
fn client_caches_survive_restarts_and_a_crash_with_pickle() -> Result<()> {
    caches_survive(Encoding::Pickle)
}

#[test]
fn client_caches_survive_restarts_and_a_crash_with_msgpack() -> Result<()> {
    caches_survive(Encoding::Msgpack)
}
