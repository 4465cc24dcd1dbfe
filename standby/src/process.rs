//! What every long-running command shares: the runtime, and the signals that end it.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Threads that may wait for disks at one time.
const BLOCKING_THREADS_MAX: usize = 64;

/// What a process is asked for, by signals or by whoever runs a node within a program of its own.
pub struct Signals {
    heard: mpsc::UnboundedReceiver<Asked>,
    /// [`Asked::Reload`] was heard while nobody could do it.
    put_off: bool,
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
    /// Signals of somebody else.
    pub fn channel() -> (mpsc::UnboundedSender<Asked>, Self) {
        let (sender, heard) = mpsc::unbounded_channel();
        (sender, Self { heard, put_off: false })
    }

    /// Passes on those of the operating system.
    fn listen() -> Result<Self> {
        let (sender, signals) = Self::channel();
        let kinds = [
            (SignalKind::hangup(), Asked::Reload),
            (SignalKind::terminate(), Asked::Stop("SIGTERM")),
            (SignalKind::interrupt(), Asked::Stop("SIGINT")),
        ];
        for (kind, asked) in kinds {
            let (mut heard, sender) = (signal(kind)?, sender.clone());
            tokio::spawn(async move { while heard.recv().await.is_some() && sender.send(asked).is_ok() {} });
        }
        Ok(signals)
    }

    /// Waits for a signal. Where nobody can send one, for ever.
    pub async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.put_off) {
            return Asked::Reload;
        }
        match self.heard.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    /// Waits for one that stops the process, and says which. What else is asked for waits.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            match self.heard.recv().await {
                Some(Asked::Stop(signal)) => return signal,
                Some(Asked::Reload) => self.put_off = true,
                None => std::future::pending().await,
            }
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
        work(Signals::listen()?).await
    })
}
