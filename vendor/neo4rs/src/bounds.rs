//! Bounds on what a server may send, looked at before anything of a message is decoded.
//!
//! Decoding follows what a message says of itself: it calls itself for each list in a list, and makes room for as many
//! elements as a list says it has. A message that says too much would end the whole process, by a stack that is full
//! or by room that is not there, and no caller can catch either. So each message is walked once, without recursion
//! and without making room for anything.

/// Bytes of a message before the server has let us in: it answers with a few names and numbers.
pub const FIRST_BYTES: usize = 64 << 10;

/// Bytes of any later message. One row is one message.
pub const BYTES: usize = 80 << 20;

/// Lists in lists. What is stored is four deep, a routing table five.
pub const DEPTH: usize = 64;

/// Values in one message, each of which takes some hundred bytes once it is decoded; and in all the rows that come
/// before the summary of one request, since all of them are kept until it is there.
pub const VALUES: usize = 1 << 20;

/// Bytes of all the rows that come before the summary of one request.
pub const ANSWER_BYTES: usize = 256 << 20;

/// Empty chunks before a message: a server sends one now and then to show that it is still there.
pub const NOOPS: usize = 10_000;

/// Why a message is refused. Each text begins with [`REFUSED`].
pub const REFUSED: &str = "refused an answer";

/// Says that a message is longer than `limit`.
pub(crate) fn too_long(limit: usize) -> String {
    format!("{REFUSED} of more than {limit} bytes")
}

/// The rows that have come since the last summary.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: usize,
    values: usize,
}

impl Rows {
    /// Counts one more row, or refuses it.
    pub(crate) fn count(&mut self, bytes: usize, values: usize) -> Result<(), String> {
        self.bytes += bytes;
        self.values += values;
        if self.bytes > ANSWER_BYTES || self.values > VALUES {
            return Err(format!(
                "{REFUSED} with more than {ANSWER_BYTES} bytes or {VALUES} values in its rows"
            ));
        }
        Ok(())
    }
}

/// Says that nothing but empty chunks came.
pub(crate) fn nothing_in_it() -> String {
    format!("{REFUSED} that begins with more than {NOOPS} empty chunks")
}

/// Walks a message and refuses what could not be decoded within bounds. Answers with the number of its values.
pub fn check(message: &[u8]) -> Result<usize, String> {
    let cut_off = || format!("{REFUSED} that ends in the middle of a value");
    let mut rest = message;
    let take = |rest: &mut &[u8], bytes: usize| -> Result<usize, String> {
        let (head, tail) = rest.split_at_checked(bytes).ok_or_else(cut_off)?;
        *rest = tail;
        Ok(head.iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    // How many values are still to come at each depth.
    let mut open = [0usize; DEPTH];
    let mut depth = 0;
    open[0] = 1;
    let mut values = 0;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                return Ok(values);
            }
            depth -= 1;
        }
        open[depth] -= 1;
        values += 1;
        if values > VALUES {
            return Err(format!("{REFUSED} with more than {VALUES} values"));
        }
        let marker = take(&mut rest, 1)? as u8;
        let low = usize::from(marker & 0x0f);
        // What follows the marker: bytes to skip, or values to walk.
        let (skip, inner) = match marker {
            0x00..=0x7f | 0xf0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0xc8 => (1, 0),
            0xc9 => (2, 0),
            0xca => (4, 0),
            0xc1 | 0xcb => (8, 0),
            0x80..=0x8f => (low, 0),
            0xcc | 0xd0 => (take(&mut rest, 1)?, 0),
            0xcd | 0xd1 => (take(&mut rest, 2)?, 0),
            0xce | 0xd2 => (take(&mut rest, 4)?, 0),
            0x90..=0x9f => (0, low),
            0xd4 => (0, take(&mut rest, 1)?),
            0xd5 => (0, take(&mut rest, 2)?),
            0xd6 => (0, take(&mut rest, 4)?),
            0xa0..=0xaf => (0, 2 * low),
            0xd8 => (0, 2 * take(&mut rest, 1)?),
            0xd9 => (0, 2 * take(&mut rest, 2)?),
            0xda => (0, take(&mut rest, 4)?.saturating_mul(2)),
            // Its tag is a byte of its own.
            0xb0..=0xbf => (1, low),
            _ => return Err(format!("{REFUSED} with the unknown marker {marker:#04x}")),
        };
        take(&mut rest, skip)?;
        if inner > rest.len() {
            return Err(format!("{REFUSED} that says it has {inner} values in {} bytes", rest.len()));
        }
        if inner > 0 {
            depth += 1;
            if depth == DEPTH {
                return Err(format!("{REFUSED} with values more than {DEPTH} deep"));
            }
            open[depth] = inner;
        }
    }
}
