//! What every long-running command shares: the runtime, and the signals that end it.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Threads that may wait for disks at one time.
const BLOCKING_THREADS_MAX: usize = 64;

/// The signals that stop a process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To stop: which signal.
    Stop(&'static str),
    /// To read the configuration anew: SIGHUP.
    Reload,
}

impl Signals {
    /// Waits for a signal.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
        }
    }

    /// Waits for SIGTERM or SIGINT, and says which.
    pub async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs `work` on a runtime of its own. `on_user_signal` is called at each SIGUSR2.
pub fn run_until_done<F>(on_user_signal: fn(), work: impl FnOnce(Signals) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        // Whoever writes to a file that has reached its limit is told; unhandled, the signal would end the process. Once
        // handled, it stays so.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let mut user_signal = signal(SignalKind::user_defined2())?;
        tokio::spawn(async move {
            while user_signal.recv().await.is_some() {
                on_user_signal();
            }
        });
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        work(Signals { terminate, interrupt, hangup }).await
    })
}
