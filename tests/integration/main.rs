//! The real program and real processes: one binary, a module for each subject.
//!
//! No test here waits for a fixed time: each waits for a condition, and fails when it has not come true within
//! [`wait::PATIENCE`], which is generous because the machine may be busy with other things.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod alerts;
mod attention;
mod backup;
mod bench;
mod check;
mod cli;
mod command_job;
mod completions;
mod config;
mod daemon;
mod docs;
mod feed;
mod feed_killed;
mod feed_served;
mod first_steps;
mod full_disk;
mod journal;
mod markers;
mod notifications;
mod operating;
mod page;
#[path = "../random/mod.rs"]
mod random;
mod sandbox;
mod shown;
mod surroundings;
mod told;
mod unset_clock;
mod wait;
mod walls;
mod whose;
