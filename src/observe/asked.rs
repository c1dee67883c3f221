//! A request and what it asks for: its path, its fields, and the part of the history that it wants.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::JobName;
use crate::history::{Filter, is_outcome};
use crate::job::RunId;

/// A request, as far as it counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    /// HTTP/1.0, which knows no `Host`.
    pub(super) is_old: bool,
    /// Each `Host` that it names.
    pub(super) hosts: Vec<String>,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) accept: String,
}

impl Asked {
    /// The value of a field of the query, decoded; `None` where it is missing or empty.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let fields = self.query.split('&').filter_map(|field| field.split_once('='));
        let (_, value) = fields.into_iter().find(|(found, _)| *found == name)?;
        percent_decoded(&value.replace('+', " ")).filter(|value| !value.is_empty())
    }
}

/// A wish about the history, read from a query.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) job: Option<JobName>,
    pub(super) outcome: Option<String>,
    until: Option<DateTime<Utc>>,
    pub(super) before: Option<RunId>,
}

impl Wish {
    /// Reads the fields `job`, `outcome` and `before`. An `Err` says what is wrong with them.
    pub(super) fn of(asked: &Asked) -> Result<Wish, String> {
        let mut wish = Wish {
            job: asked.field("job").map(|job| JobName::new(&job)),
            outcome: asked.field("outcome"),
            ..Wish::default()
        };
        if let Some(outcome) = &wish.outcome
            && !is_outcome(outcome)
        {
            return Err(format!(
                "outcome: {outcome:?} is none: write succeeded, failed, interrupted, skipped, running, queued, or the \
                 reason of a skip"
            ));
        }
        if let Some(before) = asked.field("before") {
            match DateTime::parse_from_rfc3339(&before) {
                Ok(at) => wish.until = Some(at.to_utc() - TimeDelta::microseconds(1)),
                Err(_) => wish.before = Some(RunId::from_stored(before)),
            }
        }
        Ok(wish)
    }

    /// Whether it is the newest part of all of the history.
    pub(super) fn is_whole(&self) -> bool {
        self.job.is_none()
            && self.outcome.is_none()
            && self.until.is_none()
            && self.before.is_none()
    }

    pub(super) fn filter(&self) -> Filter<'_> {
        Filter {
            job: self.job.as_ref(),
            outcome: self.outcome.as_deref(),
            until: self.until,
            before: self.before.as_ref(),
            ..Filter::default()
        }
    }
}

/// The text that `%41` and its like stand for; `None` for what is no text.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            // `from_str_radix` takes a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}
