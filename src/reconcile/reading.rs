//! Files of the vault as a run reads them: by its settings, until it is told to stop.

use std::ops::ControlFlow;

use crate::job::{JobError, RunContext};
use crate::vault::{self, Listing, ReadOptions, ReadOutcome, ToRead};

use super::fault::vault_error;
use super::phases::{Phase, Phases};
use super::settings::SyncSettings;

/// Reads files of the listing, and hands each to `visit` in order. The time of `visit` belongs to the phase in which this was
/// called.
pub(super) fn read_in_order<'a>(
    settings: &SyncSettings,
    ctx: &RunContext<'_>,
    listing: &Listing,
    phases: &Phases<'_>,
    files: &[ToRead<'a>],
    visit: &mut dyn FnMut(&ToRead<'a>, ReadOutcome) -> ControlFlow<()>,
) -> Result<(), JobError> {
    let options = ReadOptions {
        max_note_size: settings.max_note_size,
        parse: settings.parse,
        threads: settings.threads,
        clock: ctx.clock,
        times: phases.reading(),
        stop: &ctx.stop,
    };
    let of_visit = phases.enter(Phase::Reading);
    let read = vault::read_in_order(&listing.root, files, &options, &mut |file, outcome| {
        phases.during(of_visit, || visit(file, outcome))
    });
    phases.enter(of_visit);
    read.map_err(|error| vault_error(error, ctx))
}
