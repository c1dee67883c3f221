//! The last bytes that a run said.

/// Lines as they came, standard output and standard error alike; only the last are kept.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    most: usize,
    cut: bool,
}

impl Tail {
    /// Keeps at most so many bytes.
    pub(super) fn new(most: usize) -> Tail {
        Tail { bytes: Vec::new(), most, cut: false }
    }

    /// Takes in a line, without its end.
    pub(super) fn push(&mut self, line: &[u8]) {
        if self.most == 0 {
            return;
        }
        let end = &line[line.len().saturating_sub(self.most)..];
        self.cut |= end.len() < line.len();
        self.bytes.extend_from_slice(end);
        self.bytes.push(b'\n');
        // Twice the room, so that not each line moves all that is kept.
        if self.bytes.len() > 2 * self.most {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..surplus);
        self.cut |= surplus > 0;
    }

    /// The kept bytes; they begin with a whole line where there is one.
    pub(super) fn kept(&mut self) -> Vec<u8> {
        self.shorten();
        let line_end = self.bytes.iter().position(|byte| *byte == b'\n');
        let begin = match line_end.filter(|end| end + 1 < self.bytes.len()) {
            Some(line_end) if self.cut => line_end + 1,
            _ => 0,
        };
        self.bytes[begin..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(most: usize, lines: &[&str], expected: &str) {
        let mut tail = Tail::new(most);
        for line in lines {
            tail.push(line.as_bytes());
            assert!(tail.bytes.len() <= 2 * most);
        }
        assert_eq!(String::from_utf8(tail.kept()).unwrap(), expected);
    }

    #[test]
    fn the_last_lines_are_kept() {
        case(100, &["one", "two"], "one\ntwo\n");
        case(8, &["one", "two"], "one\ntwo\n");
        case(7, &["one", "two"], "two\n");
        case(8, &["one", "two", "three", "four"], "four\n");
        case(0, &["one"], "");
    }

    #[test]
    fn of_a_line_that_is_too_long_the_end_is_kept() {
        case(4, &["abcdefgh"], "fgh\n");
        case(4, &["one", "abcdefgh"], "fgh\n");
    }
}
