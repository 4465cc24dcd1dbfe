use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ReadError;
use crate::error::IndexError;
use crate::index::{Mark, TransactionEntry};
use crate::log::LogFile;
use crate::positions::Positions;
use crate::scan::{Scanned, Scanner};
use crate::world;

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
/// While the index file fails, it is tried again at least this often.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Writes what was committed to the index file, behind the commits, on a thread of its own.
pub(crate) struct Drainer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), IndexError>>>>,
    /// What the thread would have, where there is none.
    threadless: Arc<Mutex<Option<Drain>>>,
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
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Checkpoint,
    Abandon,
}

impl Drainer {
    pub(crate) fn start(log: Arc<LogFile>, positions: Arc<Positions>, mark: Mark) -> Self {
        let shared =
            Arc::new(Shared { waiting: Mutex::default(), work: Condvar::new(), room: Condvar::new() });
        let drain = Drain {
            shared: Arc::clone(&shared),
            log,
            positions,
            durable: mark,
            durable_at: world::monotonic(),
            written: mark,
            objects: Vec::new(),
        };
        let (mut thread, mut threadless) = (None, None);
        if world::LATER.is_none() {
            let started = std::thread::Builder::new().name("index".into()).spawn(move || drain.run());
            thread = Some(started.expect("a thread can be started"));
        } else {
            threadless = Some(drain);
        }
        Self { shared, thread: Mutex::new(thread), threadless: Arc::new(Mutex::new(threadless)) }
    }

    /// Hands over what was committed up to `mark`.
    pub(crate) fn push(
        &self,
        objects: impl Iterator<Item = (u64, u64)>,
        transactions: impl Iterator<Item = TransactionEntry>,
        mark: Mark,
    ) {
        let mut waiting = self.shared.waiting();
        let was_empty = waiting.mark.is_none();
        waiting.objects.extend(objects);
        waiting.transactions.extend(transactions);
        waiting.mark = Some(mark);
        let enough = waiting.enough();
        drop(waiting);
        if was_empty || enough {
            match world::LATER {
                None => self.shared.work.notify_one(),
                Some(later) => {
                    let drain = Arc::clone(&self.threadless);
                    later(GATHER, Box::new(move || work_off(&drain)));
                }
            }
        }
    }

    /// Waits while too much waits to be written.
    pub(crate) fn wait_for_room(&self) {
        let mut waiting = self.shared.waiting();
        while waiting.objects.len() > RECORDS_MAX && waiting.stop.is_none() {
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
        if let Some(mut drain) = self.threadless.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return drain.round().map(drop);
        }
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

/// Tries to write to the index file again, until that succeeds or `shared` is stopped. All positions that the file
/// does not have stay in memory meanwhile.
fn recover(
    shared: &Shared,
    log: &Arc<LogFile>,
    positions: &Positions,
    up_to: &Mark,
    failed: IndexError,
) -> Result<(), IndexError> {
    tracing::error!(error = %failed, "the index file failed; what it does not have stays in memory");
    if world::LATER.is_some() {
        return Err(failed); // there is nobody who could wait
    }
    let mut pause = Duration::from_millis(100);
    loop {
        let stopping = {
            let waiting = shared.waiting();
            let stopping = |waiting: &mut Waiting| waiting.stop.is_none();
            let waited = shared.work.wait_timeout_while(waiting, pause, stopping);
            waited.unwrap_or_else(PoisonError::into_inner).0.stop
        };
        if stopping == Some(Stop::Abandon) {
            return Err(failed);
        }
        match positions.index.reopen(|from| read_again(log, from, up_to)) {
            Ok(()) => {
                tracing::info!("the index file works again");
                return Ok(());
            }
            Err(error) if stopping.is_some() => {
                tracing::error!(%error, "the index file could not be completed");
                return Err(failed);
            }
            Err(error) => tracing::warn!(%error, "the index file still fails"),
        }
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

/// What the log has between two marks.
#[allow(clippy::type_complexity)]
fn read_again(
    log: &Arc<LogFile>,
    from: Mark,
    up_to: &Mark,
) -> Result<(Vec<(u64, u64)>, Vec<TransactionEntry>, Mark), ReadError> {
    let mut scanner = Scanner::new(Arc::clone(log), up_to.end);
    let (mut objects, mut transactions, mut mark) = (Vec::new(), Vec::new(), from);
    while mark.end < up_to.end {
        let found = match scanner.step(mark.end, mark.last_tid, mark.checksum)? {
            Scanned::Transaction(found) => found,
            Scanned::Bad(bad) => return Err(ReadError::corrupt(mark.end, bad.reason)),
            Scanned::End => return Err(ReadError::corrupt(mark.end, "the log is shorter than it was")),
        };
        objects.extend(scanner.records().iter().map(|record| (record.oid.get(), record.position)));
        let (tid, checksum) = (found.head.tid, found.checksum);
        transactions.push(TransactionEntry { tid, position: found.position, checksum });
        mark = Mark { end: found.end, last_tid: tid, last_position: found.position, checksum, ..mark };
    }
    if (mark.end, mark.checksum) != (up_to.end, up_to.checksum) {
        return Err(ReadError::corrupt(mark.end, "the running checksum is not what it was"));
    }
    keep_latest(&mut objects);
    Ok((objects, transactions, *up_to))
}

/// Writes what waits, where there is no thread. After a failure not any more: it is made up for at the next start.
fn work_off(drain: &Mutex<Option<Drain>>) {
    let mut drain = drain.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Err(error)) = drain.as_mut().map(Drain::round) {
        tracing::error!(%error, "the index file failed");
        *drain = None;
    }
}

/// What the thread works on.
struct Drain {
    shared: Arc<Shared>,
    log: Arc<LogFile>,
    positions: Arc<Positions>,
    /// What is in the index file for good.
    durable: Mark,
    durable_at: Duration,
    /// What is in the index file.
    written: Mark,
    objects: Vec<(u64, u64)>,
}

impl Drain {
    fn run(mut self) -> Result<(), IndexError> {
        loop {
            self.gather();
            if self.round()? {
                return Ok(());
            }
        }
    }

    /// Waits until there is enough to do.
    fn gather(&self) {
        let shared = &self.shared;
        let mut waiting = shared.waiting();
        while waiting.mark.is_none() && waiting.stop.is_none() {
            if self.written.end == self.durable.end {
                waiting = shared.work.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = CHECKPOINT_AFTER.saturating_sub(self.since_durable());
            if left.is_zero() {
                break;
            }
            waiting = wait(shared, waiting, left);
        }
        let gather_until = world::monotonic() + GATHER;
        while waiting.mark.is_some() && waiting.stop.is_none() && !waiting.enough() {
            let left = gather_until.saturating_sub(world::monotonic());
            if left.is_zero() {
                break;
            }
            waiting = wait(shared, waiting, left);
        }
    }

    fn since_durable(&self) -> Duration {
        world::monotonic().saturating_sub(self.durable_at)
    }

    /// Writes what waits. `true`: that was the last.
    fn round(&mut self) -> Result<bool, IndexError> {
        self.objects.clear();
        if self.objects.capacity() > RECORDS_ENOUGH * 4 {
            self.objects = Vec::new();
        }
        let (transactions, mark, stop) = {
            let mut waiting = self.shared.waiting();
            mem::swap(&mut self.objects, &mut waiting.objects);
            (mem::take(&mut waiting.transactions), waiting.mark.take(), waiting.stop)
        };
        self.shared.room.notify_all();
        if stop == Some(Stop::Abandon) {
            return Ok(true);
        }
        keep_latest(&mut self.objects);
        let mark = mark.unwrap_or(self.written);
        let due = self.since_durable() >= CHECKPOINT_AFTER || mark.end - self.durable.end >= CHECKPOINT_BYTES;
        let make_durable = due || stop == Some(Stop::Checkpoint);
        if mark.end != self.written.end || (make_durable && mark.end != self.durable.end) {
            let mut is_durable = make_durable;
            let index = &self.positions.index;
            if let Err(error) = index.apply(&self.objects, &transactions, &mark, make_durable) {
                recover(&self.shared, &self.log, &self.positions, &mark, error)?;
                is_durable = true;
            }
            self.positions.indexed(&self.objects, &transactions);
            self.written = mark;
            if is_durable {
                self.durable = self.written;
            }
        }
        if self.written.end == self.durable.end {
            self.durable_at = world::monotonic();
        }
        Ok(stop == Some(Stop::Checkpoint))
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
