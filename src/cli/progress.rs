//! A progress bar on the terminal: files, bytes, and an estimate once there is something to base it on.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{
    BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
    TermLike,
};

use crate::job::Progress;
use crate::text::length;

/// Before this much time the speed says more about the start than about the rest.
const ESTIMATE_AFTER: Duration = Duration::from_secs(3);

/// How often the bar is drawn at most.
const DRAWN_A_SECOND: u8 = 20;

/// Width of a terminal that does not tell it.
const USUAL_WIDTH: u16 = 80;

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
            // A bar that cannot be drawn is left undrawn.
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
            let screen = Box::new(Screen::default());
            self.bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(screen, DRAWN_A_SECOND));
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

/// The terminal behind standard error. A terminal whose window is made narrower breaks the line that stands there into
/// several rows, so the rows to be erased are counted by the width that the window has now.
#[derive(Debug, Default)]
struct Screen {
    /// How many characters the line has that stands there.
    drawn: AtomicUsize,
}

impl Screen {
    fn put(&self, text: &str) -> io::Result<()> {
        io::stderr().write_all(text.as_bytes())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(io::stderr());
        size.map(|size| size.ws_col).ok().filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
    }

    /// Each drawing begins with this, from the end of the line that stands there.
    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        let drawn = self.drawn.swap(0, Ordering::Relaxed);
        let width = usize::from(self.width());
        match if drawn > 0 { drawn.div_ceil(width) - 1 } else { rows } {
            0 if drawn > 0 => self.put("\r\x1b[J"),
            0 => Ok(()),
            above if drawn > 0 => self.put(&format!("\x1b[{above}A\r\x1b[J")),
            above => self.put(&format!("\x1b[{above}A")),
        }
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        if rows == 0 { Ok(()) } else { self.put(&format!("\x1b[{rows}B")) }
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.put(&format!("\x1b[{columns}C")) }
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.put(&format!("\x1b[{columns}D")) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        // The text that fills the row up would be the first to be broken into a row of its own.
        if text.bytes().all(|byte| byte == b' ') {
            return self.put("\x1b[K");
        }
        let shown = text.chars().filter(|c| *c != '\r').count();
        self.drawn.fetch_add(shown, Ordering::Relaxed);
        self.put(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}
