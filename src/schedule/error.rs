//! The one error of this room.

/// Why a line or a zone was refused: one line, what is wrong and what to write instead. It is made to stand behind
/// the place it was found in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub(super) String);
