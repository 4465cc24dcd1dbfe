use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::batch::{BATCH_BYTES_MAX, Writer};
use crate::inner::Inner;
use crate::turns::Turns;
use crate::world;
use crate::{CommitError, Committed, Reservation, Transaction};

/// Where the committer tells of what is durable. It calls from its own thread, in the order of tids; only after
/// it was stopped, a commit fails on the thread that asked for it.
pub trait Publish: Send + Sync + 'static {
    /// These transactions are durable, and readers see them.
    fn published(&self, batch: Vec<Committed>);

    /// The transaction with this tag was not committed.
    fn failed(&self, tag: u64, error: &CommitError);
}

/// Commits transactions, on a thread of its own: takes all that wait, writes them in one append, syncs once, and
/// publishes them. Clones are handles to the same one.
#[derive(Clone)]
pub struct Committer {
    queue: Arc<Queue>,
}

pub(crate) struct Job {
    pub(crate) tag: u64,
    pub(crate) transaction: Transaction,
    /// Given back when the transaction is in the log, or not.
    pub(crate) _reservation: Reservation,
}

struct Queue {
    storage: Weak<Inner>,
    /// The thread holds on to it; whoever is told may hold on to this.
    publish: Weak<dyn Publish>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Whoever has it commits. `None` once the committer has ended.
    writer: Mutex<Option<Writer>>,
    /// Between commits and a pack.
    turns: Turns,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    stopped: bool,
}

impl Committer {
    pub(crate) fn start(storage: &Arc<Inner>, publish: Arc<dyn Publish>) -> Self {
        let queue = Arc::new(Queue {
            storage: Arc::downgrade(storage),
            publish: Arc::downgrade(&publish),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            writer: Mutex::new(Some(Writer::new(Arc::clone(storage), publish))),
            turns: Turns::default(),
            thread: Mutex::new(None),
        });
        if world::LATER.is_none() {
            let thread = std::thread::Builder::new()
                .name("commit".into())
                .spawn({
                    let queue = Arc::clone(&queue);
                    move || run(&queue)
                })
                .expect("a thread can be started");
            *queue.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Self { queue }
    }

    /// Queues a voted transaction. Never waits for the disk. The answer comes through [`Publish`] with `tag`.
    ///
    /// # Panics
    /// When the transaction is of another storage, or has grown since its space was reserved.
    pub fn commit(&self, tag: u64, transaction: Transaction, reservation: Reservation) {
        if self.enqueue([self.job(tag, transaction, reservation)]) {
            self.queue.wake();
        }
    }

    /// Queues several at once, which are then committed in as few appends as may hold them: for a copy that is catching
    /// up. Otherwise as [`Committer::commit`].
    ///
    /// # Panics
    /// As [`Committer::commit`].
    pub fn commit_all(&self, transactions: Vec<(u64, Transaction, Reservation)>) {
        let jobs = transactions.into_iter();
        let jobs: Vec<_> = jobs.map(|(tag, what, reservation)| self.job(tag, what, reservation)).collect();
        if self.enqueue(jobs) {
            self.queue.wake();
        }
    }

    /// Commits a voted transaction on this thread, unless another is being committed: then it is queued. Spares a
    /// lone client two changes of thread; may wait for the disk.
    ///
    /// # Panics
    /// As [`Committer::commit`].
    pub fn commit_here(&self, tag: u64, transaction: Transaction, reservation: Reservation) {
        self.enqueue([self.job(tag, transaction, reservation)]);
        // If somebody else commits now, they look at the queue again when they are done.
        if !self.queue.turns.is_held()
            && let Ok(mut writer) = self.queue.writer.try_lock()
        {
            self.queue.commit_next(&mut writer);
            drop(writer);
            self.queue.rouse();
        }
    }

    fn job(&self, tag: u64, transaction: Transaction, reservation: Reservation) -> Job {
        assert!(
            reservation.bytes() >= transaction.len_bytes(),
            "space is reserved for {} bytes and not for {}",
            reservation.bytes(),
            transaction.len_bytes()
        );
        if let Some(storage) = self.queue.storage.upgrade() {
            assert!(transaction.belongs_to(&storage), "the transaction is of another storage");
        }
        Job { tag, transaction, _reservation: reservation }
    }

    /// Whether the queue was empty, and is not any more.
    fn enqueue(&self, jobs: impl IntoIterator<Item = Job>) -> bool {
        let mut waiting = self.queue.waiting();
        if waiting.stopped {
            drop(waiting);
            jobs.into_iter().for_each(|job| self.queue.fail(job.tag, &CommitError::Stopped));
            return false;
        }
        let was_empty = waiting.jobs.is_empty();
        waiting.jobs.extend(jobs);
        was_empty && !waiting.jobs.is_empty()
    }

    /// Does something between two commits.
    pub(crate) fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        let hold = self.queue.turns.hold();
        let mut writer = self.queue.writer();
        let done = work();
        if let Some(writer) = writer.as_mut() {
            writer.follow();
        }
        drop(writer);
        drop(hold);
        self.queue.rouse();
        done
    }

    /// Waits until something that is queued was committed; not at all when nothing is.
    pub(crate) fn give_way(&self) {
        self.queue.turns.give_way(|| !self.queue.waiting().jobs.is_empty());
    }

    /// Commits what is queued, and stops the thread.
    pub fn stop(&self) {
        self.end(true);
    }

    /// Stops the thread; with `finish`, after what is queued is committed, else what is queued fails.
    pub(crate) fn end(&self, finish: bool) {
        let dropped = {
            let mut waiting = self.queue.waiting();
            waiting.stopped = true;
            if finish { VecDeque::new() } else { std::mem::take(&mut waiting.jobs) }
        };
        for job in dropped {
            self.queue.fail(job.tag, &CommitError::Stopped);
        }
        self.queue.arrived.notify_all();
        if world::LATER.is_some() {
            self.queue.work_off();
        }
        let thread = self.queue.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever stops it from within `published` cannot wait for it.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            thread.join().expect("the commit thread does not panic");
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, tag: u64, error: &CommitError) {
        match self.publish.upgrade() {
            Some(publish) => publish.failed(tag, error),
            None => tracing::debug!(tag, "a commit was asked for after the committer ended"),
        }
    }

    /// Waits for work; `false` when there will be none.
    fn wait(&self) -> bool {
        let mut waiting = self.waiting();
        while waiting.jobs.is_empty() && !waiting.stopped {
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        !waiting.jobs.is_empty()
    }

    /// Wakes the thread if there is work for it.
    fn rouse(self: &Arc<Self>) {
        if !self.waiting().jobs.is_empty() {
            self.wake();
        }
    }

    /// Wakes the thread.
    fn wake(self: &Arc<Self>) {
        match world::LATER {
            None => self.arrived.notify_one(),
            Some(later) => {
                let queue = Arc::clone(self);
                later(Duration::ZERO, Box::new(move || queue.work_off()));
            }
        }
    }

    /// Does what the thread would, where there is none.
    fn work_off(&self) {
        // Else whoever commits now, comes by here when they are done.
        while !self.turns.is_held()
            && let Ok(mut writer) = self.writer.try_lock()
        {
            self.commit_next(&mut writer);
            let waiting = self.waiting();
            if waiting.jobs.is_empty() || writer.is_none() {
                let ended = waiting.stopped.then(|| writer.take());
                drop((waiting, writer, ended));
                return;
            }
        }
    }

    /// Commits as much of what waits as one append may hold.
    fn commit_next(&self, writer: &mut Option<Writer>) {
        let Some(writer) = writer else { return };
        let mut batch = writer.take_batch_buffer();
        {
            let mut waiting = self.waiting();
            let mut bytes = 0;
            while let Some(job) = waiting.jobs.front() {
                bytes += job.transaction.len_bytes();
                // A larger one goes alone, so that the end of an unfinished append can be told from damage.
                if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                    break;
                }
                batch.extend(waiting.jobs.pop_front());
            }
        }
        if !batch.is_empty() {
            writer.commit(&mut batch);
            self.turns.batch_done();
        }
        writer.keep_batch_buffer(batch);
    }
}

fn run(queue: &Queue) {
    /// Also when the thread panics, nobody waits for it in vain.
    struct Gone<'a>(&'a Queue);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            let jobs = {
                let mut waiting = self.0.waiting();
                waiting.stopped = true;
                std::mem::take(&mut waiting.jobs)
            };
            for job in jobs {
                self.0.fail(job.tag, &CommitError::Stopped);
            }
            self.0.writer().take();
        }
    }
    let _gone = Gone(queue);
    while queue.wait() {
        queue.turns.wait();
        queue.commit_next(&mut queue.writer());
    }
}
