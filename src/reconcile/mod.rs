//! One sync of a vault with a graph: scan, look up, decide, write, in batches.
//!
//! ```text
//! vault::list -> memory: skip | read -> parsed files in path order
//!     -> claim: which occurrence of an id may write -> diff: what to write -> graph (compare-and-set)
//!     -> memory, after the graph has acknowledged
//! ```
//! `sync` is the order of it all. Three things go through it: the `survey` (what is known before the first file;
//! nothing in it changes), the `books` (what the run learns and will remember) and the `tally` (what it has to tell).
//!
//! The graph is written first and the local state last: losing the local state costs time, never data, and nothing
//! that it forgot counts as deleted. Memory holds a few bytes for each file and id, and the texts of one batch.

mod batch;
mod books;
mod claim;
mod copies;
pub(crate) mod diff;
mod difference;
mod duplicates;
mod fault;
mod guards;
mod look;
mod memory;
mod missing;
mod note;
mod phases;
mod reading;
mod seen;
mod settings;
mod settle;
mod stranger;
mod survey;
mod sync;
mod tally;
mod trust;
mod under_way;

pub(crate) use fault::{graph_error, state_error};
pub use memory::{Changes, FileRecord, StatCache};
pub(crate) use memory::{Waiting, attention};
pub(crate) use settings::{OnMissing, Scope, SyncSettings};
pub(crate) use sync::sync_vault;
pub use trust::CompareOptions;

#[cfg(test)]
mod tests;
