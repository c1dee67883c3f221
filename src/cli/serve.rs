//! `serve`: the daemon in the foreground.

use super::exit::{Exit, Failure};
use super::setup::Setup;
use crate::daemon::{Serve, ServeError, serve as run_daemon};

pub(super) fn serve(setup: &Setup<'_>) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let log = setup.log(&config);
    let start = Serve {
        overrides: setup.overrides(),
        env: setup.env()?,
        register: setup.register,
        logging: log.logging,
        metrics_file: setup.global.metrics_file.clone(),
    };
    match run_daemon(&start, config) {
        Ok(false) => Ok(Exit::Done),
        Ok(true) => Err(Failure::new(Exit::Interrupted, "told twice to stop: ended at once")),
        Err(ServeError::Config(errors)) => Err(errors.into()),
        Err(error) => {
            let exit = match error {
                ServeError::Config(_) | ServeError::Kinds(_) => Exit::Usage,
                ServeError::Start(_) | ServeError::Signals(_) => Exit::Unavailable,
                ServeError::Crashed => Exit::JobFailed,
            };
            Err(Failure::new(exit, error.to_string()))
        }
    }
}
