//! The hash of a text with its white space joined: what the other services compare.

use sha2::{Digest, Sha256};

use super::white::{skip_white, stretch_end};
use crate::block::ContentHash;

/// SHA-256 of `text` with its white space joined.
pub(super) fn hash_joined(text: &str) -> ContentHash {
    let mut hasher = JoinedHasher::default();
    hasher.feed(text);
    hasher.finish()
}

/// SHA-256 of a text with its white space joined, for a text that comes in pieces and whose beginnings are asked for
/// as well.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinedHasher {
    sha: Sha256,
    /// Something other than white space has come.
    begun: bool,
    /// White space has come since.
    white: bool,
}

impl JoinedHasher {
    /// Adds the next piece. Nothing is assumed between two pieces.
    #[inline]
    pub(super) fn feed(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        loop {
            let start = skip_white(bytes, at);
            self.white |= start > at;
            if start == bytes.len() {
                return;
            }
            if self.begun && self.white {
                self.sha.update(b" ");
            }
            at = stretch_end(bytes, start);
            self.sha.update(&bytes[start..at]);
            (self.begun, self.white) = (true, false);
        }
    }

    /// The hash of what has come so far.
    #[inline]
    pub(super) fn finish(&self) -> ContentHash {
        ContentHash(self.sha.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vault::white::{join_white_space, tests::texts};

    #[test]
    fn the_empty_text_has_the_hash_of_nothing() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash_joined(" \n").to_string(), hash);
    }

    proptest! {
        #[test]
        fn a_joined_text_has_the_hash_of_what_joining_gives(text in texts()) {
            let mut joined = String::new();
            join_white_space(&text, &mut joined, usize::MAX);
            prop_assert_eq!(hash_joined(&text), ContentHash(Sha256::digest(&joined).into()));
        }

        #[test]
        fn pieces_hash_as_the_whole(text in texts(), at in any::<prop::sample::Index>()) {
            let mut at = at.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let mut hasher = JoinedHasher::default();
            hasher.feed(&text[..at]);
            prop_assert_eq!(hasher.finish(), hash_joined(&text[..at]));
            hasher.feed(&text[at..]);
            prop_assert_eq!(hasher.finish(), hash_joined(&text));
        }
    }
}
