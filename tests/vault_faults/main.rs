//! The real program on vaults, disks and processes that fail under it.
//!
//! Nothing here waits for a fixed time. A program that has not ended after [`wait::PATIENCE`] is a failure: whatever
//! the vault is made of, a sync must come to an end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod faults;
mod kill;
mod limits;
mod memory;
mod place;
#[path = "../random/mod.rs"]
mod random;
#[path = "../wait/mod.rs"]
mod wait;
