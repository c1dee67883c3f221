//! `pause` and `resume`: the pause file, which works across restarts and whether a daemon is running or not.

use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;

pub(super) fn pause(setup: &Setup<'_>) -> Result<Exit, Failure> {
    let switch = setup.pause(&setup.config()?)?;
    let created = switch.create().map_err(|error| Failure::unavailable(error.to_string()))?;
    let file = switch.file().display();
    tell(if created {
        format!("paused: created {file}")
    } else {
        format!("paused already by {file}")
    })
}

pub(super) fn resume(setup: &Setup<'_>) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let switch = setup.pause(&config)?;
    let removed = switch.remove().map_err(|error| Failure::unavailable(error.to_string()))?;
    let file = switch.file().display();
    tell(match (removed, setup.paused(&config)?) {
        (true, None) => format!("resumed: removed {file}"),
        (false, None) => format!("not paused: there is no {file}"),
        (true, Some(why)) => format!("removed {file}, but {why} still asks for a pause"),
        (false, Some(why)) => format!("there is no {file}, but {why} asks for a pause"),
    })
}

fn tell(line: String) -> Result<Exit, Failure> {
    let mut out = Out::stdout();
    written(writeln!(out, "{line}").and_then(|()| out.flush()), Exit::Done)
}
