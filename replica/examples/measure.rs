//! Measures a storage beside what the machine can do: `measure FOLDER [objects]`.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use replica::{
    CommitError, Committed, NoProgress, Oid, OpenOptions, Publish, ReadError, ReadMode, Storage, Tid,
};

const TIME: Duration = Duration::from_secs(3);

/// Answers each client over its own channel; the tag is the client.
struct Answers(Vec<Mutex<Sender<()>>>);

impl Publish for Answers {
    fn published(&self, batch: Vec<Committed>) {
        for committed in batch {
            self.0[committed.tag as usize].lock().unwrap().send(()).unwrap();
        }
    }

    fn failed(&self, _: u64, error: &CommitError) {
        panic!("{error}");
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let objects: u64 = arguments.next().map_or(1_000_000, |number| number.parse().expect("a number"));
    let path = folder.join("Data.fs");
    bare_append(&folder);
    fill(&path, objects);
    loads(&path, objects);
    for clients in [1, 4, 16] {
        commits(&path, clients, objects);
    }
    bare_append(&folder);
    std::fs::remove_dir_all(folder.join("Data.fs.standby")).unwrap();
    let start = Instant::now();
    let (storage, _) = Storage::open(&path, &OpenOptions::default(), &NoProgress).unwrap();
    let bytes = storage.size_bytes();
    println!("indexing {} MB from scratch: {:?}; {}", bytes / 1_000_000, start.elapsed(), memory());
    storage.close().unwrap();
}

fn bare_append(folder: &Path) {
    let path = folder.join("bare");
    let file = File::create(&path).unwrap();
    let bytes = vec![7; 10 * 542 + 31];
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        file.write_all_at(&bytes, count * bytes.len() as u64).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    println!("bare append and fdatasync: {:.0}/s", count as f64 / start.elapsed().as_secs_f64());
    std::fs::remove_file(path).unwrap();
}

fn open(path: &Path, clients: usize) -> (Storage, replica::Committer, Vec<Receiver<()>>) {
    let start = Instant::now();
    let (storage, report) = Storage::open(path, &OpenOptions::default(), &NoProgress).unwrap();
    println!("open: {:?} ({:?}, {} bytes read)", start.elapsed(), report.index, report.scanned_bytes);
    let (senders, receivers) = (0..clients).map(|_| channel()).map(|(s, r)| (Mutex::new(s), r)).unzip();
    let committer = storage.start_committer(Arc::new(Answers(senders)));
    (storage, committer, receivers)
}

fn fill(path: &Path, objects: u64) {
    let (storage, committer, answers) = open(path, 1);
    let start = Instant::now();
    let data = [5; 400];
    for first in (0..objects).step_by(1000) {
        let mut transaction = storage.begin();
        for oid in first..(first + 1000).min(objects) {
            transaction.store(Oid::new(oid), &data).unwrap();
        }
        let reservation = storage.reserve(&transaction).unwrap();
        committer.commit(0, transaction, reservation);
        answers[0].recv().unwrap();
    }
    println!("filled with {objects} objects: {:?}; {}", start.elapsed(), memory());
    let start = Instant::now();
    storage.close().unwrap();
    println!("close: {:?}", start.elapsed());
}

fn loads(path: &Path, objects: u64) {
    let (storage, _committer, _) = open(path, 1);
    println!("after opening: {}", memory());
    let mut buffer = Vec::new();
    for (mode, what) in
        [(ReadMode::MayBlock, "first"), (ReadMode::MayBlock, "warm"), (ReadMode::Cached, "cached")]
    {
        let start = processor_time();
        let (mut oid, mut not_in_memory) = (1, 0);
        for _ in 0..objects {
            oid = (oid + 7_368_787) % objects;
            match storage.load_before(Oid::new(oid), Tid::MAX, mode, &mut buffer) {
                Err(ReadError::WouldBlock) => {
                    not_in_memory += 1;
                    storage.load_before(Oid::new(oid), Tid::MAX, ReadMode::MayBlock, &mut buffer).unwrap();
                }
                other => assert!(other.unwrap().is_some()),
            }
        }
        if not_in_memory > 0 {
            println!("{not_in_memory} of them were not in memory");
        }
        let spent = processor_time() - start;
        println!(
            "{what} load: {:.0} ns of processor time; {}",
            spent.as_nanos() as f64 / objects as f64,
            memory()
        );
    }
    storage.close().unwrap();
}

fn commits(path: &Path, clients: usize, objects: u64) {
    let (storage, committer, answers) = open(path, clients);
    // Who changes an object has loaded it before.
    let objects = objects.min(50_000);
    let mut buffer = Vec::new();
    for oid in 0..objects {
        storage.load_before(Oid::new(oid), Tid::MAX, ReadMode::MayBlock, &mut buffer).unwrap();
    }
    let start = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = answers
            .into_iter()
            .enumerate()
            .map(|(client, answers)| {
                let (storage, committer) = (&storage, &committer);
                scope.spawn(move || {
                    let data = [9; 500];
                    let mut count = 0;
                    let mut oid = client as u64 * 10_007;
                    while start.elapsed() < TIME {
                        let mut transaction = storage.begin();
                        for _ in 0..10 {
                            oid = (oid + 7_368_787) % objects;
                            transaction.store(Oid::new(oid), &data).unwrap();
                        }
                        let reservation = storage.reserve(&transaction).unwrap();
                        committer.commit(client as u64, transaction, reservation);
                        answers.recv().unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    println!(
        "{clients} clients: {:.0} commits/s; {}",
        count as f64 / start.elapsed().as_secs_f64(),
        memory()
    );
    storage.close().unwrap();
}

/// What this thread has used, whatever else the machine does.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    format!("{} {}", line("VmRSS"), line("VmHWM")).split_whitespace().collect::<Vec<_>>().join(" ")
}
