//! `serve`: the daemon in the foreground.

use super::arguments;
use super::exit::{Exit, Failure};
use super::setup::Setup;
use crate::daemon::{Serve, ServeError, serve as run_daemon};

pub(super) fn serve(setup: &Setup<'_>, arguments: arguments::Serve) -> Result<Exit, Failure> {
    let mut origin = setup.origin()?;
    origin.overrides.listen = arguments.listen;
    let app = origin.load()?;
    let log = setup.log(&app.config);
    let metrics_file = setup.metrics_file()?;
    let start = Serve { origin, logging: log.logging, metrics_file };
    match run_daemon(&start, app) {
        Ok(false) => Ok(Exit::Done),
        Ok(true) => Err(Failure::new(Exit::Interrupted, "told twice to stop: ended at once")),
        Err(error) => {
            let exit = match error {
                ServeError::Start(_) | ServeError::Signals(_) | ServeError::Window(_) => {
                    Exit::Unavailable
                }
                ServeError::Crashed => Exit::JobFailed,
            };
            Err(Failure::new(exit, error.to_string()))
        }
    }
}
