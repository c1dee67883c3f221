//! Starts the right run at the right time, once, and can prove it.
//!
//! ```text
//!             due instants          decisions             durable rows          orders
//! Planner (pure) <---- tick thread ----> Planner ... tick thread ----> history ----> worker-0, worker-1, ...
//!                          ^                                                             |
//!                          +------------------------- reports --------------------------+
//! ```
//!
//! One thread, `tick`, owns all scheduling state: the `Planner`, which decides and knows neither clock nor thread,
//! and the connection to the state file. It sleeps until something is due, decides, makes the decisions durable, and only
//! then hands runs to a fixed pool of workers. A decision that cannot be recorded is not taken.
//!
//! This room knows no job: it is handed [`ConfiguredJob`]s. It knows no vault: whether automation is paused is a
//! look that it is handed. The words that an operator reads are up to the observers it is handed.

mod execute;
pub(crate) mod health;
pub(crate) mod manual;
pub(crate) mod plan;
mod pool;
mod setup;
mod status;
#[cfg(test)]
mod testing;
mod tick;

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

pub(crate) use self::execute::log_faults;
pub(crate) use self::setup::{ConfiguredJob, Settings, Setup, StartError};
pub(crate) use self::status::{Ending, Event, Observer, Running, Status};

/// A running scheduler. Dropping it stops it, with the grace the settings give to running jobs.
pub(crate) struct Scheduler {
    commands: Sender<tick::Command>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<Ending>>,
    ending: Ending,
}

impl Scheduler {
    /// Opens the state folder, puts to rest what a dead daemon left, and starts the threads. When this returns, the
    /// scheduler schedules.
    pub(crate) fn start(setup: Setup) -> Result<Scheduler, StartError> {
        let (commands, inbox) = crossbeam_channel::bounded(16);
        let (alive, ended) = crossbeam_channel::bounded(0);
        let tick = tick::Tick::new(setup, inbox)?;
        let thread = std::thread::Builder::new()
            .name("tick".to_owned())
            .spawn(move || {
                let ending = tick.run();
                drop(alive);
                ending
            })
            .map_err(StartError::Thread)?;
        Ok(Scheduler { commands, ended, thread: Some(thread), ending: Ending::default() })
    }

    /// Puts new settings into force and returns when they are. Jobs whose line and zone are the same keep their next
    /// fire time; others start anew; jobs that are gone finish what runs. Without effect once the scheduler has ended.
    pub(crate) fn reload(&self, settings: Settings) {
        let (done, wait) = crossbeam_channel::bounded(0);
        if self.commands.send(tick::Command::Reload(Box::new(settings), done)).is_ok() {
            // The answer is the hanging up: it comes also when the tick thread ends instead.
            let _ = wait.recv();
        }
    }

    /// Asks for the end and returns at once. No new run begins; running ones have `shutdown_grace_time`. Asked a second
    /// time, the end comes without waiting: what runs is recorded as interrupted.
    pub(crate) fn request_stop(&self) {
        let _ = self.commands.send(tick::Command::Stop);
    }

    /// Hangs up when the scheduler has ended, for a `select!` beside signals. Carries no message.
    pub(crate) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Waits for the end, after asking for it unless that was done. May be called twice.
    pub(crate) fn stop(&mut self) -> Ending {
        if let Some(thread) = self.thread.take() {
            let _ = self.commands.send(tick::Command::EnsureStop);
            self.ending = thread.join().unwrap_or(Ending { crashed: true, ..Ending::default() });
        }
        self.ending
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}
