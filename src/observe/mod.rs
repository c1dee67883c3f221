//! Who is told of what happened: the log, and whatever else watches the scheduler.
//!
//! This room hears what the scheduler has decided and what came of it; it decides nothing.

mod log;
pub mod notify;

pub use self::log::log_run;
