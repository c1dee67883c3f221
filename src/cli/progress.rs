//! A progress bar on the terminal: files, bytes, and an estimate once there is something to base it on.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{
    BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use crate::job::Progress;
use crate::text::length;

/// Before this much time the speed says more about the start than about the rest.
const ESTIMATE_AFTER: Duration = Duration::from_secs(3);

/// A bar on standard error.
pub(super) struct Bar {
    bar: ProgressBar,
    bytes: Arc<AtomicU64>,
}

impl Bar {
    /// A bar where a person can see one: on a terminal. It shows up with its first phase, which not every job has.
    pub(super) fn on_terminal() -> Option<Bar> {
        let hidden = || ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        std::io::stderr()
            .is_terminal()
            .then(|| Bar { bar: hidden(), bytes: Arc::new(AtomicU64::new(0)) })
    }

    /// Takes the bar off the screen while `write` writes there.
    pub(super) fn suspender(&self) -> impl Fn(&mut dyn FnMut()) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |write| bar.suspend(write)
    }

    fn style(&self, known_total: bool) -> ProgressStyle {
        let template = if known_total {
            "{msg} [{bar:20}] {done} of {all}{read}{left}"
        } else {
            "{msg} {done}{read}"
        };
        let bytes = Arc::clone(&self.bytes);
        let write_read = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let bytes = bytes.load(Ordering::Relaxed);
            // What cannot be drawn is not worth more than not being drawn.
            let _ = if bytes > 0 { write!(out, ", {}", BinaryBytes(bytes)) } else { Ok(()) };
        };
        ProgressStyle::with_template(template)
            .expect("the templates above are well formed")
            .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", HumanCount(state.pos()));
            })
            .with_key("all", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", HumanCount(state.len().unwrap_or_default()));
            })
            .with_key("read", write_read)
            .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                if state.elapsed() >= ESTIMATE_AFTER && !state.is_finished() {
                    let _ = write!(out, ", about {} left", length(state.eta()));
                }
            })
            .progress_chars("=> ")
    }
}

impl Progress for Bar {
    fn phase(&self, name: &str, total: Option<u64>) {
        self.bytes.store(0, Ordering::Relaxed);
        self.bar.reset();
        self.bar.set_message(name.to_owned());
        self.bar.set_style(self.style(total.is_some()));
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn advance(&self, units: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(units);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
