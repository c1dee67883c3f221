//! May a run start, and if not, why: the pause, the clock. Each look that may hang is taken on a thread of this room,
//! which publishes an answer; nobody waits for it.
//!
//! This room decides nothing about jobs. The meaning of a pause for one is the scheduler's business.

mod clock;
mod file;
mod lease;
mod look;
mod pause;

pub(crate) use crate::graph::lease::Claim;
pub(crate) use clock::ClockTrust;
pub(crate) use file::FileWatch;
pub(crate) use lease::{Claimed, LeaseGate, Standing};
pub(crate) use look::Look;
pub(crate) use pause::{PAUSE_FILE, Pause, PauseSwitch};
