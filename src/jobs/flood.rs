//! How much of a run's output reaches the log: a program that floods it would drown all others.

use std::time::Duration;

/// Lines of one run that the log takes in a minute.
pub(super) const LINES_MAX: u64 = 10_000;

/// Bytes of one run that the log takes in a minute.
pub(super) const BYTES_MAX: u64 = 10_000_000;

/// How long both are counted before the count begins anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts what a run says.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Monotonic time.
    window_began: Duration,
    lines: u64,
    bytes: u64,
    left_out: u64,
}

impl Flood {
    /// Nothing has come yet; the first minute begins at this reading of the monotonic clock.
    pub(super) fn beginning(now: Duration) -> Flood {
        Flood { window_began: now, ..Flood::default() }
    }

    /// A line of this length came: whether the log has room for it. Otherwise it counts as left out.
    pub(super) fn admits(&mut self, bytes: u64) -> bool {
        self.lines += 1;
        self.bytes += bytes;
        let is_admitted = self.lines <= LINES_MAX && self.bytes <= BYTES_MAX;
        self.left_out += u64::from(!is_admitted);
        is_admitted
    }

    /// Begins a new minute if one is over, and says how many lines the last one left out, if any.
    pub(super) fn turn(&mut self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.window_began) < WINDOW {
            return None;
        }
        (self.window_began, self.lines, self.bytes) = (now, 0, 0);
        self.take_left_out()
    }

    /// How many lines were left out since this was last told, if any.
    pub(super) fn take_left_out(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.left_out)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_minute_has_room_for_so_many_lines_and_the_next_for_as_many() {
        let mut flood = Flood::beginning(100 * SECOND);
        let admitted = (0..LINES_MAX + 7).filter(|_| flood.admits(10)).count();
        assert_eq!(admitted as u64, LINES_MAX);
        assert_eq!(flood.turn(159 * SECOND), None);
        assert!(!flood.admits(10));
        assert_eq!(flood.turn(160 * SECOND), Some(8));
        assert!(flood.admits(10));
        assert_eq!(flood.turn(300 * SECOND), None);
    }

    #[test]
    fn a_minute_has_room_for_so_many_bytes() {
        let mut flood = Flood::default();
        assert!(flood.admits(BYTES_MAX - 1));
        assert!(flood.admits(1));
        assert!(!flood.admits(1));
        assert_eq!((flood.take_left_out(), flood.take_left_out()), (Some(1), None));
    }
}
