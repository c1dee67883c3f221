//! Numbers from a seed, for tests that do something at random: shared by all test programs.

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }
}

/// How often a test kills, and from which seed: `ACLARAI_KILLS` and `ACLARAI_KILLS_SEED`, else these. Where the test fails,
/// the command that does the same again is shown.
#[expect(clippy::print_stderr, reason = "a test that fails says how to repeat it")]
pub(crate) fn kills(test: &str, kills: u64, seed: u64) -> (u64, Random) {
    let number = |name, usual| std::env::var(name).map_or(usual, |number| number.parse().unwrap());
    let (kills, seed) = (number("ACLARAI_KILLS", kills), number("ACLARAI_KILLS_SEED", seed));
    let program = env!("CARGO_CRATE_NAME");
    eprintln!(
        "again: ACLARAI_KILLS_SEED={seed} ACLARAI_KILLS={kills} cargo test --test {program} {test}"
    );
    (kills, Random(seed))
}
