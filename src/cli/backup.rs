//! `backup DIR`: consistent copies of the state file and the embedded graph, while a daemon and other programs go on.

use std::path::Path;

use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;
use crate::config::GraphConfig;
use crate::sqlite::{self, Folder};
use crate::state::{self, State};

pub(super) fn backup(setup: &Setup<'_>, folder: &Path) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let folder = &setup.env()?.path(folder);
    let mut sources = vec![config.state_dir.join(state::FILE)];
    if let GraphConfig::Embedded { path } = &config.graph {
        sources.push(path.clone());
    }
    sources.retain(|source| source.exists());
    if sources.is_empty() {
        return Err(Failure::unavailable(format!(
            "nothing to back up: {} has no state file and no graph: name the folder with --state-dir",
            config.state_dir.display()
        )));
    }
    // Says what is wrong with it, where something is.
    drop(State::open_existing(&config.state_dir)?);
    sqlite::make_folder(folder, Folder::Private).map_err(|denied| refused(folder, &denied))?;
    let held = sqlite::hold(folder).map_err(|error| {
        Failure::unavailable(format!("{}: {error}: name another folder", folder.display()))
    })?;
    if held.is_none() {
        return Err(Failure::unavailable(format!(
            "{}: another backup is being written there: run this again when that has ended",
            folder.display()
        )));
    }
    let mut out = Out::stdout();
    for source in sources {
        let copy = folder.join(source.file_name().expect("a database has a name"));
        if copy.exists() && copy.canonicalize().ok() == source.canonicalize().ok() {
            let copy = copy.display();
            return Err(Failure::usage(format!("{copy} is the original: name another folder")));
        }
        if copy.exists() && !sqlite::have_one_mark(&source, &copy).unwrap_or(false) {
            let copy = copy.display();
            return Err(Failure::usage(format!(
                "{copy} is no backup, and stays as it is: name another folder"
            )));
        }
        let said = sqlite::back_up(&source, &copy);
        let bytes = said.map_err(|error| {
            Failure::unavailable(format!(
                "{}: cannot copy it to {}: {error}: see that the first is sound and that the second has room, or name another folder",
                source.display(),
                copy.display()
            ))
        })?;
        let line = writeln!(out, "{} ({bytes} bytes)", copy.display());
        written(line, Exit::Done)?;
    }
    written(out.flush(), Exit::Done)
}

fn refused(folder: &Path, denied: &sqlite::Denied) -> Failure {
    let why = match denied {
        sqlite::Denied::System { path, verb, error } => {
            let remedy = "name a folder that this user may make and write";
            format!("{}: cannot {verb} it: {error}: {remedy}", path.display())
        }
        sqlite::Denied::NotOurs { path, what, remedy } => {
            format!("{}: {what}: {remedy}", path.display())
        }
    };
    Failure::unavailable(format!("cannot use {} for a backup: {why}", folder.display()))
}
