//! The one door to the rooms for this project's own tests, benchmarks, examples and fuzz targets. No program of others
//! may use it: its names change with any release. `tests/front_door.rs` holds that each name here is used.

/// Blocks.
pub mod block {
    pub use crate::block::{BlockId, ContentHash, ID_BYTES_MAX, Level, Tier};
}

/// Time.
pub mod clock {
    pub use crate::clock::{Clock, LONGEST_WAIT, Moment, SystemClock};
}

/// The configuration, checked.
pub mod config {
    pub use crate::config::{
        CommandSpec, Config, Env, GraphConfig, JobName, JobSpec, Neo4jConfig, Overrides, Params,
        RetryPolicy, RunPolicy, SHIPPED_FILE, VaultConfig, from_text,
    };
}

/// A line of `check`.
pub mod finding {
    pub use crate::finding::Level;
}

/// The graph stores.
pub mod graph {
    pub use crate::graph::{
        Applied, Change, Conflict, Content, Facts, GraphError, GraphStore, HandedOut, Mark, Marks,
        MemoryStore, Place, Purge, SqliteStore, State, StoredBlock, Which, Write, check, open,
        open_dry,
    };
}

/// The history.
pub mod history {
    pub use crate::history::History;
}

/// Jobs.
pub mod job {
    pub use crate::job::{
        BuildError, Job, JobError, JobErrorKind, RunContext, RunId, RunOptions, RunReport, Trigger,
    };
}

/// The built-in jobs.
pub mod jobs {
    pub use crate::jobs::command::CommandJob;
    pub use crate::jobs::vault_sync::VaultSync;
    pub use crate::jobs::{Deps, Surroundings, verdict_of};
}

/// The sync.
pub mod reconcile {
    pub use crate::reconcile::diff::{Found, decide};
    pub use crate::reconcile::{Changes, CompareOptions, FileRecord, StatCache};
}

/// Schedules.
pub mod schedule {
    pub use crate::schedule::{Schedule, Zone};
}

/// The planner.
pub mod scheduler {
    pub use crate::scheduler::plan::{Planner, Surroundings};
}

/// The state file.
pub mod state {
    pub use crate::state::State;
}

/// Being told to stop.
pub mod stop {
    pub use crate::stop::{END_MAX, Stop};
}

/// Files into blocks, and made-up vaults.
pub mod vault {
    pub use crate::cli::bench::sample::Sample;
    pub use crate::vault::{
        Listing, NOTE_BYTES_MAX, NotUtf8, ParseOptions, ParsedFile, ReadOptions, ReadOutcome,
        ReadTimes, ToRead, VaultError, WalkOptions, copy_by_name, likely_copy_of, list, parse,
        parse_bytes, placeholder_of, read_in_order,
    };
}
