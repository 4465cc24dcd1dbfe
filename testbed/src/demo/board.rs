use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use thiserror::Error;

use super::act::Act;
use super::view::{Event, Source, View};

/// How many events are kept.
const EVENTS_MAX: usize = 1000;

/// What all parts of the demonstration share: the view, and whether it is to end.
#[derive(Debug)]
pub struct Board {
    begin: Instant,
    view: Mutex<View>,
    is_given_up: AtomicBool,
}

/// The user has had enough.
#[derive(Debug, Error)]
#[error("given up by the user")]
pub struct GivenUp;

impl Board {
    /// One on which nothing stands yet.
    pub fn new() -> Self {
        Self { begin: Instant::now(), view: Mutex::default(), is_given_up: AtomicBool::new(false) }
    }

    /// How it is now.
    pub fn view(&self) -> View {
        View { elapsed: self.elapsed(), ..self.lock().clone() }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Changes what is shown.
    pub fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.lock())
    }

    /// Something has happened.
    pub fn tell(&self, by: Source, text: impl Into<String>) {
        let event = Event { at: self.elapsed(), by, text: text.into() };
        self.change(|view| {
            view.events.push(event);
            let surplus = view.events.len().saturating_sub(EVENTS_MAX);
            view.events.drain(..surplus);
        });
    }

    /// The next act begins.
    pub fn begin(&self, act: Act) -> Result<()> {
        self.change(|view| view.act = Some(act));
        self.go_on()
    }

    /// The user has had enough.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether the user has had enough.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// # Errors
    /// The user has had enough ([`GivenUp`]).
    pub fn go_on(&self) -> Result<()> {
        if self.is_given_up() { Err(GivenUp.into()) } else { Ok(()) }
    }

    /// Asks `condition` again and again until it has an answer.
    ///
    /// # Errors
    /// It has none within `patience`, fails, or the user has had enough.
    pub fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(answer) = condition()? {
                return Ok(answer);
            }
            self.go_on()?;
            if Instant::now() > deadline {
                bail!("waited {patience:?} in vain for {what}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the user look for so long.
    ///
    /// # Errors
    /// The user has had enough.
    pub fn show(&self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.go_on()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
