//! A question that may hang, asked on a thread of its own: a vault on a drive that is gone, an `.env` that is a FIFO.
//!
//! A caller gets an answer within a blink, or the last known one with the time since when there is none. While a
//! look hangs, no other is begun and nobody waits at all.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// How long an answer is waited for: some thousand times as long as a local disk takes, and too short to make a run late.
const BLINK: Duration = Duration::from_millis(100);

/// A question with the answer that is known.
pub(crate) struct Look<T> {
    asks: Asks<T>,
    known: T,
    /// Since when the look that is under way has been without an answer.
    hangs_since: Option<DateTime<Utc>>,
}

enum Asks<T> {
    /// On a thread, which ends when this is dropped, or as soon as its look comes back. Nobody joins it: that could
    /// take for ever.
    Thread(Arc<Desk<T>>),
    /// On the thread that asks.
    Here(Box<dyn Fn() -> T + Send>),
}

/// Where the two threads meet. No channel: one waits by spinning first, which would be a third of what an idle daemon
/// costs.
struct Desk<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    is_asked: bool,
    is_over: bool,
    answer: Option<T>,
}

impl<T> Desk<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whenever that is asked, until nobody is left who asks.
    fn serve(&self, look: impl Fn() -> T) {
        loop {
            let idle = |state: &mut State<T>| !state.is_asked && !state.is_over;
            let waited = self.changed.wait_while(self.lock(), idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_over {
                return;
            }
            state.is_asked = false;
            drop(state);
            let answer = look();
            self.lock().answer = Some(answer);
            self.changed.notify_all();
        }
    }

    /// Asks, and waits a blink for the answer.
    fn ask(&self) -> Option<T> {
        self.lock().is_asked = true;
        // Not while it is locked: the thread that wakes would have to wait for the lock.
        self.changed.notify_all();
        let is_open = |state: &mut State<T>| state.answer.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), BLINK, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.answer.take()
    }
}

impl<T> Drop for Asks<T> {
    fn drop(&mut self) {
        if let Asks::Thread(desk) = self {
            desk.lock().is_over = true;
            desk.changed.notify_all();
        }
    }
}

/// The newest answer, and its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen<T> {
    /// The newest answer there is.
    pub answer: T,
    /// Since when a look has been without an answer: then `answer` is an older one.
    pub hangs_since: Option<DateTime<Utc>>,
}

impl<T: Clone + Send + 'static> Look<T> {
    /// A look on a thread of that name. Until the first answer, `known` counts.
    pub(crate) fn on_thread(
        name: &str,
        known: T,
        look: impl Fn() -> T + Send + 'static,
    ) -> io::Result<Look<T>> {
        let state = Mutex::new(State { is_asked: false, is_over: false, answer: None });
        let desk = Arc::new(Desk { state, changed: Condvar::new() });
        let served = Arc::clone(&desk);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || served.serve(look))?;
        Ok(Look { asks: Asks::Thread(desk), known, hangs_since: None })
    }

    /// A look that cannot hang: it is taken on the thread that asks.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask without a thread"))]
    pub(crate) fn here(look: impl Fn() -> T + Send + 'static) -> Look<T> {
        Look { known: look(), asks: Asks::Here(Box::new(look)), hangs_since: None }
    }

    /// Takes this look in the place of `older`: what was known stays known until the first answer.
    pub(crate) fn replace(&mut self, older: &Look<T>) {
        self.known = older.known.clone();
    }

    /// Looks, and says what is known a blink later at most.
    pub(crate) fn take(&mut self, now: DateTime<Utc>) -> Seen<T> {
        match &self.asks {
            Asks::Here(look) => self.known = look(),
            Asks::Thread(desk) => {
                if self.hangs_since.is_some()
                    && let Some(late) = desk.lock().answer.take()
                {
                    (self.known, self.hangs_since) = (late, None);
                }
                if self.hangs_since.is_none() {
                    match desk.ask() {
                        Some(answer) => self.known = answer,
                        None => self.hangs_since = Some(now),
                    }
                }
            }
        }
        Seen { answer: self.known.clone(), hangs_since: self.hangs_since }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// The tick thread used to stand still, and SIGTERM with it, while the vault's disk did not answer.
    #[test]
    fn a_look_that_hangs_leaves_the_last_answer_and_its_age() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let (gate, opened) = bounded::<&'static str>(1);
        let look = Look::on_thread("look", "nothing", move || opened.recv().unwrap_or("gone"));
        let mut look = look.unwrap();
        gate.send("paused").unwrap();
        // An answer may take longer than a blink on a busy machine, and is known then at a later look.
        let known = |look: &mut Look<&'static str>, answer, second| {
            let deadline = SystemClock.monotonic() + Duration::from_secs(300);
            while look.take(at(second)).answer != answer {
                assert!(SystemClock.monotonic() < deadline, "waited 300 s for {answer}");
                std::thread::yield_now();
            }
        };
        known(&mut look, "paused", 1);
        let hung = look.take(at(2));
        assert_eq!(hung.answer, "paused");
        assert!(hung.hangs_since.is_some_and(|since| since <= at(2)), "{hung:?}");
        for second in 3..1000 {
            assert_eq!(look.take(at(second)), hung);
        }
        gate.send("late").unwrap();
        gate.send("fresh").unwrap();
        known(&mut look, "fresh", 1000);
    }

    #[test]
    fn a_look_that_replaces_another_knows_what_that_one_knew() {
        let (_gate, opened) = bounded::<&'static str>(0);
        let mut hung = Look::on_thread("look", "nothing", move || opened.recv().unwrap()).unwrap();
        hung.replace(&Look::here(|| "paused"));
        assert_eq!(hung.take(DateTime::UNIX_EPOCH).answer, "paused");
    }
}
