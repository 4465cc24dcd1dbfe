//! When clients of a listener are let in.
//!
//! A stock read-write client whose `register` is refused once may never try that address again, and one whose
//! connection is closed before the greeting may not either. So a node that cannot commit accepts it and withholds the
//! greeting until it can: the client is *parked*.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Whether clients are served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They are.
    Open,
    /// The copy is behind what is known of its upstream. They wait, up to a limit.
    Behind,
    /// They wait, however long it takes.
    Closed,
}

/// Who opens and closes doors.
#[derive(Clone, Debug)]
pub struct Keeper(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    readiness: Readiness,
    /// How often it was closed: those who came in before must leave, however soon it opens again.
    closings: u64,
}

impl Keeper {
    /// Of doors that are in this state at first.
    pub fn new(readiness: Readiness) -> Self {
        Self(watch::Sender::new(State { readiness, closings: 0 }))
    }

    /// Opens or closes the doors.
    pub fn set(&self, readiness: Readiness) {
        self.0.send_if_modified(|state| {
            let changed = state.readiness != readiness;
            state.closings += u64::from(changed && readiness == Readiness::Closed);
            state.readiness = readiness;
            changed
        });
    }

    /// A door for read-write clients, at which so many may wait, as that is when they come.
    pub fn read_write(&self, parked_max: watch::Receiver<usize>) -> Door {
        let (_, behind_limit) = watch::channel(Duration::MAX);
        Door { read_only: false, state: self.0.subscribe(), behind_limit, parked_max, parked: Arc::default() }
    }

    /// A door for read-only clients, at which so many may wait, and so long while the copy is behind, as that is when they come.
    pub fn read_only(
        &self,
        parked_max: watch::Receiver<usize>,
        behind_limit: watch::Receiver<Duration>,
    ) -> Door {
        Door { read_only: true, behind_limit, ..self.read_write(parked_max) }
    }
}

/// Where clients of one listener come in. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door {
    /// Only read-only clients may register.
    read_only: bool,
    state: watch::Receiver<State>,
    /// How long [`Readiness::Behind`] keeps a client waiting.
    behind_limit: watch::Receiver<Duration>,
    parked_max: watch::Receiver<usize>,
    /// Those that wait: one more than there are of it.
    parked: Arc<Mutex<Arc<()>>>,
}

/// A place to wait at, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is counted")] Arc<()>);

/// There is no room for one more client that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Door {
    /// A door that is open to all.
    pub fn open() -> Self {
        Keeper::new(Readiness::Open).read_write(watch::channel(0).1)
    }

    /// Only read-only clients may register.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether clients are let in at once.
    pub fn is_open(&self) -> bool {
        self.readiness() == Readiness::Open
    }

    /// Whether clients are let in.
    pub fn readiness(&self) -> Readiness {
        self.state.borrow().readiness
    }

    /// How many clients wait.
    pub fn parked(&self) -> usize {
        Arc::strong_count(&self.parked.lock().unwrap_or_else(PoisonError::into_inner)) - 1
    }

    /// A place to wait at.
    pub fn park(&self) -> Result<Place, Full> {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = Arc::strong_count(&parked) - 1;
        if waiting < *self.parked_max.borrow() { Ok(Place(parked.clone())) } else { Err(Full) }
    }

    /// Waits until a client may be let in.
    pub async fn opened(&self) -> Visit {
        let mut state = self.state.clone();
        loop {
            let Ok(seen) =
                state.wait_for(|state| state.readiness != Readiness::Closed).await.map(|seen| *seen)
            else {
                return std::future::pending().await; // nobody opens it any more
            };
            if seen.readiness == Readiness::Open {
                return Visit(seen.closings);
            }
            let changed = state.wait_for(|state| state.readiness != Readiness::Behind);
            let limit = *self.behind_limit.borrow();
            if tokio::time::timeout(limit, changed).await.is_err() {
                return Visit(seen.closings);
            }
        }
    }

    /// Waits until a client that was let in must leave.
    pub async fn closed(&self, visit: Visit) {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.closings > visit.0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// When a client was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit(u64);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn waits(door: &Door, time: Duration) -> bool {
        tokio::time::timeout(time, door.opened()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_door_keeps_clients_waiting_until_it_opens() {
        let keeper = Keeper::new(Readiness::Closed);
        let door = keeper.read_write(watch::channel(2).1);
        assert!(waits(&door, Duration::from_secs(86_400)).await);
        keeper.set(Readiness::Open);
        assert!(!waits(&door, Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_is_behind_keeps_clients_waiting_up_to_the_limit() {
        let keeper = Keeper::new(Readiness::Behind);
        let door = keeper.read_only(watch::channel(2).1, watch::channel(LIMIT).1);
        assert!(waits(&door, LIMIT - Duration::from_millis(1)).await);
        assert!(!waits(&door, LIMIT + Duration::from_millis(1)).await);
        keeper.set(Readiness::Closed);
        assert!(waits(&door, LIMIT * 3).await, "half a copy is never served");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_and_no_more() {
        let door = Keeper::new(Readiness::Closed).read_write(watch::channel(2).1);
        let (first, second) = (door.park(), door.park());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(door.park().err(), Some(Full));
        assert_eq!(door.parked(), 2);
        drop(first);
        assert_eq!(door.clone().parked(), 1);
        assert!(door.park().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_in_leave_when_it_closes_however_soon_it_opens_again() {
        let keeper = Keeper::new(Readiness::Open);
        let door = keeper.read_write(watch::channel(2).1);
        let visit = door.opened().await;
        keeper.set(Readiness::Behind);
        assert!(tokio::time::timeout(LIMIT, door.closed(visit)).await.is_err());
        keeper.set(Readiness::Closed);
        keeper.set(Readiness::Open);
        tokio::time::timeout(LIMIT, door.closed(visit)).await.expect("it must leave");
        let visit = door.opened().await;
        assert!(tokio::time::timeout(LIMIT, door.closed(visit)).await.is_err());
    }
}
