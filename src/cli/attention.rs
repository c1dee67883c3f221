//! `attention`: all that waits for a person, from one place: what the last sync left in the state folder, and faults of
//! the configuration. Only looks.

use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Format;
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::{Setup, say_left_out};
use crate::app::AppError;
use crate::reconcile::{self, Waiting};

pub(super) fn attention(setup: &Setup<'_>, format: &Format) -> Result<Exit, Failure> {
    let waiting = match setup.origin()?.load() {
        Ok(app) => {
            say_left_out(&app.config);
            of_vault(&app.config.state_dir)?
        }
        Err(error @ AppError::Kinds(_)) => return Err(error.into()),
        // Which state folder it would name cannot be known, unless the command line does.
        Err(AppError::Config(errors)) => {
            let mut waiting: Vec<Waiting> = errors
                .faults()
                .iter()
                .map(|fault| Waiting {
                    kind: "configuration".to_owned(),
                    place: String::new(),
                    message: fault.to_string(),
                    remedy: "correct it; a running daemon keeps the old configuration until then"
                        .to_owned(),
                })
                .collect();
            if let Some(dir) = &setup.global.state_dir {
                waiting.extend(of_vault(dir)?);
            }
            waiting
        }
    };
    let mut out = Out::stdout();
    let shown = if format.json {
        out.json(&waiting.iter().map(to_json).collect::<Vec<_>>())
    } else {
        show(&mut out, &waiting)
    };
    written(shown.and_then(|()| out.flush()), Exit::Done)?;
    match waiting.len() {
        0 => Ok(Exit::Done),
        1 => Err(Failure::new(Exit::Attention, "1 thing waits for a person")),
        count => Err(Failure::new(Exit::Attention, format!("{count} things wait for a person"))),
    }
}

fn of_vault(state_dir: &Path) -> Result<Vec<Waiting>, Failure> {
    Ok(reconcile::attention(state_dir)?)
}

fn to_json(waiting: &Waiting) -> Value {
    let Waiting { kind, place, message, remedy } = waiting;
    json!({ "kind": kind, "place": place, "message": message, "remedy": remedy })
}

fn show(out: &mut Out, waiting: &[Waiting]) -> std::io::Result<()> {
    if waiting.is_empty() {
        return writeln!(out, "nothing waits for a person");
    }
    for Waiting { kind, place, message, remedy } in waiting {
        match place.as_str() {
            "" => writeln!(out, "{kind}: {message}")?,
            place => writeln!(out, "{kind}: {place}: {message}")?,
        }
        writeln!(out, "    {remedy}")?;
    }
    Ok(())
}
