//! Measures what a copy takes, in memory that is warm: `copy FOLDER [megabytes] [bytes of a record]`.
//!
//! Prints, in MB of the source's log a second: a bare copy of the file with one sync; exporting; importing with commits.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use replica::{
    CommitError, Committed, Committer, Export, NoProgress, Oid, OpenOptions, Publish, Reservation, Storage,
    Tid, Transaction,
};

/// Transactions that are queued and not yet answered, at most.
const QUEUED_MAX: u64 = 10_000;

/// Transactions of so many bytes are handed to the committer at once.
const GROUP_BYTES: u64 = 4 << 20;

struct Answers(Mutex<Sender<u64>>);

impl Publish for Answers {
    fn published(&self, batch: Vec<Committed>) {
        self.0.lock().unwrap().send(batch.len() as u64).unwrap();
    }

    fn failed(&self, _: u64, error: &CommitError) {
        panic!("{error}");
    }
}

struct Site {
    storage: Storage,
    committer: Committer,
    answers: Receiver<u64>,
    waiting: u64,
    group: Vec<(u64, Transaction, Reservation)>,
    group_bytes: u64,
}

impl Site {
    fn open(path: &Path) -> Self {
        let (storage, _) = Storage::open(path, &OpenOptions::default(), &NoProgress).unwrap();
        let (sender, answers) = channel();
        let committer = storage.start_committer(Arc::new(Answers(Mutex::new(sender))));
        Self { storage, committer, answers, waiting: 0, group: Vec::new(), group_bytes: 0 }
    }

    fn queue(&mut self, transaction: Transaction) {
        let reservation = self.storage.reserve(&transaction).unwrap();
        self.group_bytes += reservation.bytes();
        self.group.push((0, transaction, reservation));
        if self.group_bytes > GROUP_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.group_bytes = 0;
        self.waiting += self.group.len() as u64;
        self.committer.commit_all(std::mem::take(&mut self.group));
        while self.waiting > QUEUED_MAX {
            self.waiting -= self.answers.recv().unwrap();
        }
    }

    fn finish(&mut self) {
        self.hand_over();
        while self.waiting > 0 {
            self.waiting -= self.answers.recv().unwrap();
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let megabytes: u64 = arguments.next().map_or(1000, |number| number.parse().expect("a number"));
    let record: usize = arguments.next().map_or(400, |number| number.parse().expect("a number"));
    let from = folder.join("from/Data.fs");
    std::fs::create_dir_all(folder.join("from")).unwrap();
    let site = fill(&from, megabytes << 20, record);
    let bytes = site.storage.size_bytes();
    println!("{} MB of log, 10 records of {record} B in a transaction", bytes / 1_000_000);
    let report = |what: &str, (started, cpu): (Instant, f64)| {
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let speed = bytes as f64 / 1e6 / seconds;
        println!("{what:<28} {speed:>6.0} MB/s   {seconds:.2} s, {cpu:.2} s of a processor");
    };
    let started = (Instant::now(), cpu_seconds());
    bare_copy(&from, &folder.join("bare"));
    report("bare copy, one sync", started);
    for what in [Export::All, Export::Current] {
        let started = (Instant::now(), cpu_seconds());
        let transactions = export(&site.storage, what, |_| ());
        report(&format!("export {what:?}, {transactions}"), started);
    }
    for what in [Export::All, Export::Current] {
        let place = folder.join(format!("{what:?}"));
        std::fs::create_dir_all(&place).unwrap();
        let mut to = Site::open(&place.join("Data.fs"));
        let started = (Instant::now(), cpu_seconds());
        export(&site.storage, what, |portable| {
            let transaction = to.storage.import(portable.into()).unwrap();
            to.queue(transaction);
        });
        to.finish();
        report(&format!("export and import {what:?}"), started);
        to.storage.close().unwrap();
    }
}

/// What all threads of this process have used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn fill(path: &Path, bytes: u64, record: usize) -> Site {
    let mut site = Site::open(path);
    let objects = bytes / 2 / (record as u64 + 42);
    let mut number = 0u64;
    let mut data = vec![7; record];
    while number * (record as u64 + 42) < bytes {
        let mut transaction = site.storage.begin();
        for _ in 0..10 {
            let oid =
                if number < objects { number } else { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % objects };
            data[..8].copy_from_slice(&number.to_be_bytes());
            transaction.store(Oid::new(oid), &data).unwrap();
            number += 1;
        }
        site.queue(transaction);
    }
    site.finish();
    site
}

fn bare_copy(from: &Path, to: &Path) {
    let (mut from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read]).unwrap();
    }
    to.sync_data().unwrap();
}

fn export(storage: &Storage, what: Export, mut take: impl FnMut(Vec<u8>)) -> u64 {
    let mut exporter = storage.export(Tid::ZERO, what).unwrap();
    let mut portable = Vec::new();
    let mut count = 0;
    while exporter.next(&mut portable).unwrap().is_some() {
        take(std::mem::take(&mut portable));
        count += 1;
    }
    count
}
