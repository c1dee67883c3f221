//! A few named threads that share one piece of work and end with it.

use std::thread;

use crate::logging;

/// Runs `work` on this thread and on up to `threads` - 1 more, and returns when it has returned on all of them. `work`
/// takes its share from what it can reach. A thread that the system refuses to start is done without.
pub(super) fn on_threads(name: &str, threads: usize, work: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        for n in 1..threads {
            let started =
                thread::Builder::new().name(format!("{name}-{n}")).spawn_scoped(scope, work);
            if let Err(error) = started {
                logging::debug!("thread {name}-{n} was refused: {error}");
                break;
            }
        }
        work();
    });
}
