//! Which file is read.

use std::path::{Path, PathBuf};

use super::env::{Variables, with_home};
use super::error::{ConfigErrors, Mistake};
use super::given::{Given, Origin};
use super::node::Lines;
use super::settings::Overrides;
use super::shown::shown_text;
use super::source::{LEFT_OUT, fault_of, is_absent, read, whose_else};

/// Where a file is looked for when none is named, the first one found is read.
pub(super) const USUAL_PLACES: [&str; 2] =
    ["settings/aclarai.config.yaml", "/etc/aclarai-scheduler/aclarai.config.yaml"];

/// The file that was found.
pub(super) struct FoundFile {
    /// The file's name, as a person would write it, and its text.
    pub(super) file: Option<(PathBuf, String)>,
    /// A file below the current folder that was left out, and why.
    pub(super) left_out: Option<Mistake>,
}

/// The file that was named, which must be there, else the first of the usual ones that is.
pub(super) fn find(
    overrides: &Overrides,
    variables: &Variables<'_>,
    cwd: &Path,
) -> Result<FoundFile, ConfigErrors> {
    let flag =
        overrides.config.clone().map(|value| Given { value, origin: Origin::Flag("--config") });
    let variable = variables.get("ACLARAI_CONFIG").map(|given| given.map(PathBuf::from));
    if let Some(Given { value: path, origin }) = flag.or(variable) {
        let home = variables.get("HOME").map(|home| home.value);
        let path = with_home(&path, home.as_deref());
        return match read(&cwd.join(&path)) {
            Ok(text) => Ok(FoundFile { file: Some((path, text)), left_out: None }),
            Err(why) => Err(Mistake {
                subject: origin.name().to_owned(),
                value: Some(shown_text(&path.to_string_lossy())),
                message: why.remedy(),
                place: origin.place(None, &Lines::default()),
            }
            .into()),
        };
    }
    if let Some(before) = &overrides.in_force
        && cwd.join(before).symlink_metadata().is_err_and(|error| is_absent(&error))
    {
        let message = "read before, and now there is no such file: put it back".to_owned();
        return Err(fault_of(before, message).into());
    }
    let mut left_out = None;
    for place in USUAL_PLACES.map(Path::new) {
        let path = cwd.join(place);
        // A link that leads nowhere is there, and somebody means it to be read.
        if path.symlink_metadata().is_err_and(|error| is_absent(&error)) {
            continue;
        }
        if place.is_relative()
            && let Some(why) = whose_else(cwd, &path)
        {
            let remedy = "to use it all the same, name it with --config or ACLARAI_CONFIG";
            if overrides.in_force.as_deref() == Some(place) {
                let message = format!("read before, and now {LEFT_OUT}{why}: {remedy}");
                return Err(fault_of(place, message).into());
            }
            left_out = Some(fault_of(place, format!("{LEFT_OUT}{why}: {remedy}")));
            continue;
        }
        match read(&path) {
            Ok(text) => return Ok(FoundFile { file: Some((place.to_owned(), text)), left_out }),
            // Defaults would be a bad surprise.
            Err(why) => return Err(fault_of(place, why.remedy()).into()),
        }
    }
    Ok(FoundFile { file: None, left_out })
}
