use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ReserveError;
use crate::log::LogFile;
use crate::world;

/// Space is taken from the filesystem in steps of this many bytes.
const STEP: u64 = 16 << 20;

/// The disk space behind the end of the log: what voted transactions need is really taken from the filesystem
/// (without changing the file's length), so that a full disk shows at the vote and never at the finish.
pub(crate) struct Space {
    state: Mutex<State>,
}

struct State {
    log: Arc<LogFile>,
    /// The end of the log.
    end: u64,
    /// What is reserved behind it.
    reserved: u64,
    /// Up to here the filesystem has given space.
    allocated: u64,
    /// The filesystem cannot give space in advance.
    unsupported: bool,
}

impl Space {
    pub(crate) fn new(log: Arc<LogFile>, end: u64) -> Self {
        let state = State { log, end, reserved: 0, allocated: end, unsupported: false };
        Self { state: Mutex::new(state) }
    }

    /// Reserves `bytes` until the reservation is dropped.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, ReserveError> {
        let mut state = self.state();
        let reserved = state.reserved.saturating_add(bytes);
        let needed = state.end.saturating_add(reserved);
        state.allocate(needed).map_err(|error| {
            if is_full(&error) {
                ReserveError::NoSpace { bytes, source: error }
            } else {
                ReserveError::Io(error)
            }
        })?;
        state.reserved = reserved;
        Ok(Reservation { space: Arc::clone(self), bytes })
    }

    /// The log has grown to `end`.
    pub(crate) fn advance(&self, end: u64) {
        let mut state = self.state();
        assert!(end >= state.end, "the log only grows");
        state.end = end;
        state.allocated = state.allocated.max(end);
    }

    /// The log's file was cut back to its end, and with it what was taken in advance.
    pub(crate) fn cut_back(&self) -> io::Result<()> {
        let mut state = self.state();
        state.allocated = state.end;
        let needed = state.end + state.reserved;
        state.allocate(needed)
    }

    /// Goes over to another log, which ends at `end`, with all reservations, if `when` succeeds. When there is not
    /// enough space for them, it does not come to that.
    pub(crate) fn switch<T, E: From<io::Error>>(
        &self,
        log: &Arc<LogFile>,
        end: u64,
        when: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state();
        let reserved = state.reserved;
        let mut next = State { log: Arc::clone(log), end, reserved, allocated: end, unsupported: false };
        if reserved > 0 {
            next.allocate(end + reserved)?;
        }
        let done = when()?;
        *state = next;
        Ok(done)
    }

    /// Gives back what was taken in advance.
    pub(crate) fn give_back(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.allocated > state.end && state.log.file().metadata()?.len() == state.end {
            state.log.file().set_len(state.end)?;
            state.allocated = state.end;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn allocate(&mut self, needed: u64) -> io::Result<()> {
        let file = self.log.file();
        if needed <= self.allocated {
            return Ok(());
        }
        if !self.unsupported {
            let wanted = needed.max(self.allocated.saturating_add(STEP));
            let take = |up_to: u64| world::take_space(file, self.allocated, up_to);
            let taken = match take(wanted) {
                Err(error) if is_full(&error) => take(needed).map(|()| needed),
                other => other.map(|()| wanted),
            };
            match taken {
                Ok(allocated) => {
                    self.allocated = allocated;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.unsupported = true,
                Err(error) => return Err(error),
            }
        }
        let free = world::free_bytes_beside(file)?;
        if needed - self.end > free { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Whether an error says that there is no room.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Disk space for a transaction that was voted. Dropping it gives the space back.
pub struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    /// How many bytes of the log are reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.state().reserved -= self.bytes;
    }
}
