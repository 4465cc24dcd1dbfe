use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use replica::{BlobStore, ReadMode, Storage};
use tokio::sync::watch;
use zeo_proto::client::{Address, Client, Connection, Error, Options, Push};
use zeo_proto::{Oid, Tid, Value};

use super::clients::{PATIENCE, Visited};
use super::site::{self, Site};
use crate::seed::Seed;

/// So many objects of a site are visited at most.
const VISITED: usize = 20_000;
/// Who visits rests for so long after each record.
const PAUSE: Duration = Duration::from_millis(4);
/// After so many records, a blob is read, too, where there are any.
const RECORDS_A_BLOB: u64 = 20;

/// What is read again and again: a site as it was before the start.
pub struct Visits {
    storage: Storage,
    oids: Vec<Oid>,
    /// Objects with blobs, with the revisions that these are of, and where they are.
    blobs: Vec<(Oid, Tid, PathBuf)>,
    chance: Seed,
}

impl Visits {
    /// Looks what there is.
    pub fn of(site: &Site) -> Result<Self> {
        let storage = site::open(&site.data)?;
        let store = BlobStore::open(&site.blobs)?;
        let (mut oids, mut blobs) = (Vec::new(), Vec::new());
        let (mut next, mut buffer) = (None, Vec::new());
        while let Some(found) = storage.next_record(next, &mut buffer)? {
            oids.push(found.oid);
            let path = store.path(found.oid, found.serial);
            if path.is_file() {
                blobs.push((found.oid, found.serial, path));
            }
            next = found.next;
            if next.is_none() || oids.len() == VISITED {
                break;
            }
        }
        Ok(Self { storage, oids, blobs, chance: Seed::of(u64::from(std::process::id())) })
    }

    /// Reads of it, and compares, until it is told to stop.
    ///
    /// # Errors
    /// Something is not as it was.
    pub async fn visit(mut self, servers: Vec<Address>, stop: watch::Receiver<bool>) -> Result<Visited> {
        let client = Client::start(Options { wait: PATIENCE, ..Options::read_only(servers.clone()) });
        let mut visited = Visited::default();
        while !*stop.borrow() {
            let oid = one_of(&self.oids, &mut self.chance);
            match self.compare_record(&client, oid).await {
                Ok(()) => visited.records += 1,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            if visited.records % RECORDS_A_BLOB == 1 && !self.blobs.is_empty() {
                let server = one_of(&servers, &mut self.chance);
                // A node that is gone is not there to be compared with.
                if let Ok(connection) = Connection::open_read_only(server).await {
                    let (oid, tid, path) = one_of(&self.blobs, &mut self.chance);
                    match download(connection, oid, tid).await {
                        Ok(content) => {
                            ensure!(content == std::fs::read(path)?, "blob {oid} differs");
                            visited.blobs += 1;
                        }
                        Err(error) if is_passing(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(visited)
    }

    async fn compare_record(&self, client: &Client, oid: Oid) -> Result<()> {
        let found = client.snapshot().await?.load(oid).await?.with_context(|| format!("{oid} is gone"))?;
        let mut data = Vec::new();
        let expected = self.storage.load_before(oid, Tid::MAX, ReadMode::MayBlock, &mut data)?;
        let serial = expected.with_context(|| format!("{oid} is not in the copy"))?.serial;
        ensure!(found.serial == serial && found.data == data, "object {oid} differs");
        Ok(())
    }
}

fn one_of<T: Clone>(of: &[T], chance: &mut Seed) -> T {
    of[chance.pick(0..of.len() as u64) as usize].clone()
}

/// Whether it only says that a node is gone, or has changed its mind.
fn is_passing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(|error| error.refused().is_none())
}

/// A blob, as a node sends it.
async fn download(mut connection: Connection, oid: Oid, tid: Tid) -> Result<Vec<u8>> {
    connection.keep_pushes();
    connection.call("sendBlob", &[Value::from(oid), Value::from(tid)]).await?;
    let mut content = Vec::new();
    for push in connection.take_pushes() {
        if let Push::Blob(method, args) = push
            && method == "receiveBlobChunk"
        {
            let Some(chunk) = args.get(2).and_then(Value::as_bytes) else {
                bail!("a piece of blob {oid} without bytes");
            };
            content.extend_from_slice(chunk);
        }
    }
    Ok(content)
}
