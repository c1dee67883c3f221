//! Which file is read.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::env::Variables;
use super::error::{ConfigErrors, Fault, Place};
use super::given::{Given, Origin};
use super::node::Lines;
use super::settings::Overrides;
use super::shown::{shown_path, shown_text};

/// Where a file is looked for when none is named, the first one found is read.
pub(super) const USUAL_PLACES: [&str; 2] =
    ["settings/aclarai.config.yaml", "/etc/aclarai-scheduler/aclarai.config.yaml"];

/// No configuration, and no `.env`, is longer.
const BYTES_MAX: u64 = 1 << 20;

/// The file that was named, which must be there, else the first of the usual ones that is. Gives its name, as a person
/// would write it, and its text.
pub(super) fn find(
    overrides: &Overrides,
    variables: &Variables<'_>,
    cwd: &Path,
) -> Result<Option<(PathBuf, String)>, ConfigErrors> {
    let flag =
        overrides.config.clone().map(|value| Given { value, origin: Origin::Flag("--config") });
    let variable = variables.get("ACLARAI_CONFIG").map(|given| given.map(PathBuf::from));
    if let Some(Given { value: path, origin }) = flag.or(variable) {
        return match read(&cwd.join(&path)) {
            Ok(text) => Ok(Some((path, text))),
            Err(why) => Err(Fault {
                subject: origin.name().to_owned(),
                value: Some(shown_text(&path.to_string_lossy())),
                message: why.remedy(),
                place: origin.place(None, &Lines::default()),
            }
            .into()),
        };
    }
    for place in USUAL_PLACES {
        match read(&cwd.join(place)) {
            Ok(text) => return Ok(Some((place.into(), text))),
            Err(Unreadable::Io(error)) if is_absent(&error) => {}
            // It is there and somebody means it to be read: defaults would be a bad surprise.
            Err(why) => {
                let place =
                    Place::File { file: shown_path(Path::new(place)), line: None, column: None };
                return Err(Fault {
                    subject: String::new(),
                    value: None,
                    message: why.remedy(),
                    place,
                }
                .into());
            }
        }
    }
    Ok(None)
}

/// Why a file could not be read.
pub(super) enum Unreadable {
    Io(io::Error),
    /// A FIFO, a device, a socket.
    NoFile,
    TooLong,
    NotUtf8 {
        line: usize,
        byte: usize,
    },
}

impl Unreadable {
    /// What is wrong, and what to do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Unreadable::Io(error) if is_absent(error) => "there is no such file".to_owned(),
            Unreadable::Io(error) => match error.kind() {
                io::ErrorKind::IsADirectory => "this is a folder: name the file in it".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "permission denied: make the file readable for this user".to_owned()
                }
                _ => error.to_string(),
            },
            Unreadable::NoFile => {
                "no ordinary file, but a pipe, a device or a socket: name a file".to_owned()
            }
            Unreadable::TooLong => {
                format!(
                    "longer than {BYTES_MAX} bytes, which no configuration is: name another file"
                )
            }
            Unreadable::NotUtf8 { line, byte } => {
                format!("not UTF-8 on line {line} (byte {byte}): save the file as UTF-8")
            }
        }
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of an ordinary file. Never waits, as a FIFO would have it.
pub(super) fn read(path: &Path) -> Result<String, Unreadable> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(Unreadable::Io)?;
    let kind = file.metadata().map_err(Unreadable::Io)?;
    if kind.is_dir() {
        return Err(Unreadable::Io(io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Unreadable::Io)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..byte];
        Unreadable::NotUtf8 { line: memchr::memchr_iter(b'\n', before).count() + 1, byte }
    })
}
