//! The place of the window in a build without the feature `http`: it stays closed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::counters::Shared;
use crate::clock::Clock;
use crate::config::{Config, Env, JobName, Listen};

/// The error of a window that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {0}: this program was built without the feature http: use a build that has it, or take scheduler.listen out"
)]
pub(crate) struct WindowError(String);

/// Always closed.
#[derive(Default)]
pub(crate) struct Window;

impl Window {
    pub(crate) fn open(listen: Option<&Listen>) -> Result<Window, WindowError> {
        listen.map_or(Ok(Window), |listen| Err(WindowError(listen.to_string())))
    }

    pub(crate) fn is_open(&self) -> bool {
        false
    }

    pub(super) fn show(
        &self,
        _: &Config,
        _: &BTreeMap<JobName, String>,
        _: &Env,
        _: &Shared,
        _: &Arc<dyn Clock>,
    ) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn refuse(&self, _: &str) {}

    pub(super) fn close(self) {}
}
