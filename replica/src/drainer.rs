use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::IndexError;
use crate::index::{Mark, TransactionEntry};
use crate::positions::Positions;

/// Committed records wait at most about this long for the index file, so that many are written together.
const GATHER: Duration = Duration::from_millis(500);
/// So many waiting records are written at once.
const RECORDS_ENOUGH: usize = 1 << 16;
/// With so many waiting records, commits wait for the index file.
const RECORDS_MAX: usize = 4 << 20;
/// After this time what is in the index file is made durable.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(30);
/// After so much of the log what is in the index file is made durable: what is read again after a crash.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Writes what was committed to the index file, behind the commits, on a thread of its own.
pub(crate) struct Drainer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), IndexError>>>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    work: Condvar,
    /// There is room again.
    room: Condvar,
}

#[derive(Default)]
struct Waiting {
    objects: Vec<(u64, u64)>,
    transactions: Vec<TransactionEntry>,
    mark: Option<Mark>,
    stop: Option<Stop>,
    /// The index file failed: nothing is written any more.
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Checkpoint,
    Abandon,
}

impl Drainer {
    pub(crate) fn start(positions: Arc<Positions>, mark: Mark) -> Self {
        let shared =
            Arc::new(Shared { waiting: Mutex::default(), work: Condvar::new(), room: Condvar::new() });
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &positions, mark)
            })
            .expect("a thread can be started");
        Self { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Hands over what was committed up to `mark`. Waits when too much waits already; with the index file failed,
    /// says so then.
    pub(crate) fn push(
        &self,
        objects: impl Iterator<Item = (u64, u64)>,
        transactions: impl Iterator<Item = TransactionEntry>,
        mark: Mark,
    ) {
        let mut waiting = self.shared.waiting();
        let was_empty = waiting.mark.is_none();
        if !waiting.failed {
            waiting.objects.extend(objects);
            waiting.transactions.extend(transactions);
            waiting.mark = Some(mark);
        }
        let enough = waiting.enough();
        drop(waiting);
        if was_empty || enough {
            self.shared.work.notify_one();
        }
    }

    /// Waits while too much waits to be written.
    pub(crate) fn wait_for_room(&self) {
        let mut waiting = self.shared.waiting();
        while waiting.objects.len() > RECORDS_MAX && !waiting.failed && waiting.stop.is_none() {
            waiting = self.shared.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes what waits, makes it durable, and ends.
    pub(crate) fn checkpoint_and_stop(&self) -> Result<(), IndexError> {
        self.stop(Stop::Checkpoint)
    }

    /// Ends at once.
    pub(crate) fn abandon(&self) {
        // The index file is behind then, as after a crash.
        if let Err(error) = self.stop(Stop::Abandon) {
            tracing::debug!(%error, "the index had failed");
        }
    }

    fn stop(&self, how: Stop) -> Result<(), IndexError> {
        self.shared.waiting().stop.get_or_insert(how);
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), |thread| thread.join().expect("the index thread does not panic"))
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn enough(&self) -> bool {
        self.objects.len() + self.transactions.len() >= RECORDS_ENOUGH
    }
}

fn run(shared: &Shared, positions: &Positions, start: Mark) -> Result<(), IndexError> {
    let result = drain(shared, positions, start);
    if let Err(error) = &result {
        // All positions that the file does not have stay in memory, so that everything goes on.
        tracing::error!(%error, "the index file failed; nothing is written to it until a restart");
        let mut waiting = shared.waiting();
        *waiting = Waiting { failed: true, ..Waiting::default() };
        shared.room.notify_all();
    }
    result
}

fn drain(shared: &Shared, positions: &Positions, start: Mark) -> Result<(), IndexError> {
    let mut durable = start;
    let mut durable_at = Instant::now();
    let mut written = start;
    let mut objects: Vec<(u64, u64)> = Vec::new();
    loop {
        let (transactions, mark, stop) = {
            let mut waiting = shared.waiting();
            while waiting.mark.is_none() && waiting.stop.is_none() {
                if written.end == durable.end {
                    waiting = shared.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let left = CHECKPOINT_AFTER.saturating_sub(durable_at.elapsed());
                if left.is_zero() {
                    break;
                }
                waiting = wait(shared, waiting, left);
            }
            let gather_until = Instant::now() + GATHER;
            while waiting.mark.is_some() && waiting.stop.is_none() && !waiting.enough() {
                let left = gather_until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                waiting = wait(shared, waiting, left);
            }
            objects.clear();
            if objects.capacity() > RECORDS_ENOUGH * 4 {
                objects = Vec::new();
            }
            mem::swap(&mut objects, &mut waiting.objects);
            (mem::take(&mut waiting.transactions), waiting.mark.take(), waiting.stop)
        };
        shared.room.notify_all();
        if stop == Some(Stop::Abandon) {
            return Ok(());
        }
        keep_latest(&mut objects);
        let mark = mark.unwrap_or(written);
        let due = durable_at.elapsed() >= CHECKPOINT_AFTER || mark.end - durable.end >= CHECKPOINT_BYTES;
        let make_durable = due || stop == Some(Stop::Checkpoint);
        if mark.end != written.end || (make_durable && mark.end != durable.end) {
            positions.index.apply(&objects, &transactions, &mark, make_durable)?;
            positions.indexed(&objects, &transactions);
            written = mark;
        }
        if make_durable {
            durable = written;
        }
        if written.end == durable.end {
            durable_at = Instant::now();
        }
        if stop == Some(Stop::Checkpoint) {
            return Ok(());
        }
    }
}

fn wait<'a>(shared: &Shared, waiting: MutexGuard<'a, Waiting>, time: Duration) -> MutexGuard<'a, Waiting> {
    shared.work.wait_timeout(waiting, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Sorts by oid, and keeps the last position of each.
pub(crate) fn keep_latest(objects: &mut Vec<(u64, u64)>) {
    // Positions grow, so that the latest of an oid is the greatest.
    objects.sort_unstable();
    let mut kept = 0;
    for at in 0..objects.len() {
        if kept > 0 && objects[kept - 1].0 == objects[at].0 {
            objects[kept - 1] = objects[at];
        } else {
            objects[kept] = objects[at];
            kept += 1;
        }
    }
    objects.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_positions_the_latest_is_kept() {
        let mut objects = vec![(3, 10), (1, 20), (3, 30), (2, 40), (3, 25)];
        keep_latest(&mut objects);
        assert_eq!(objects, [(1, 20), (2, 40), (3, 30)]);
    }
}
