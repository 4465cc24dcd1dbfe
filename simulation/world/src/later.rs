//! Work that a real node's own threads do. In a simulation it is done by whoever was set up for that, in the order and at the
//! times that the seed says; without anybody, at once.

use std::cell::RefCell;
use std::time::Duration;

/// Something to be done.
pub type Work = Box<dyn FnOnce() + Send>;
type Worker = Box<dyn Fn(Duration, Work)>;

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// From now on `worker` does the work of this thread, each after about the time that is named with it. It must not do it
/// before it returns.
pub fn set(worker: impl Fn(Duration, Work) + 'static) {
    WORKER.with(|it| *it.borrow_mut() = Some(Box::new(worker)));
}

/// Has `work` done, after about this time.
pub fn after(time: Duration, work: Work) {
    let unset = WORKER.with(|worker| match worker.borrow().as_ref() {
        Some(worker) => {
            worker(time, work);
            None
        }
        None => Some(work),
    });
    if let Some(work) = unset {
        work();
    }
}
