//! The window through which people and probes look at a daemon: its sockets are opened before anything is scheduled,
//! and answered once there is something to see.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::counters::Shared;
use super::door::{self, Door};
use super::http::Http;
use super::known::Known;
use super::site::Site;
use crate::clock::Clock;
use crate::config::{Config, Env, JobName, Listen};
use crate::logging;

pub(crate) use super::door::DoorError as WindowError;

/// Closed where no address is configured and systemd hands nothing over: then it is nothing but this.
#[derive(Default)]
pub(crate) struct Window {
    doors: Mutex<Vec<Door>>,
    shown: Mutex<Option<(Arc<Site>, Http)>>,
    is_open: bool,
}

impl Window {
    /// Opens the sockets. From then on connections are kept waiting until [`show`](Window::show).
    pub(crate) fn open(listen: Option<&Listen>) -> Result<Window, WindowError> {
        let doors = door::open(listen)?;
        let is_open = !doors.is_empty();
        Ok(Window { doors: Mutex::new(doors), shown: Mutex::new(None), is_open })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Shows the daemon under this configuration from now on.
    pub(super) fn show(
        &self,
        config: &Config,
        not_runnable: &BTreeMap<JobName, String>,
        env: &Env,
        counters: &Shared,
        clock: &Arc<dyn Clock>,
    ) -> io::Result<()> {
        let known = Known::of(config, not_runnable, env);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((site, _)) = &*shown {
            site.renew(known);
            return Ok(());
        }
        let doors = std::mem::take(&mut *self.doors.lock().unwrap_or_else(PoisonError::into_inner));
        let places = doors.iter().map(Door::place).collect::<Vec<_>>().join(", ");
        let site = Arc::new(Site::new(Arc::clone(clock), counters.clone(), known));
        let http = Http::start(doors, Arc::clone(&site))?;
        logging::info!(address = places.as_str(); "listening");
        *shown = Some((site, http));
        Ok(())
    }

    /// Tells that another configuration was refused.
    pub(super) fn refuse(&self, error: &str) {
        if let Some((site, _)) = &*self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            site.refuse(error);
        }
    }

    /// Cuts off whoever looks.
    pub(super) fn close(self) {
        if let Some((_, http)) = self.shown.into_inner().unwrap_or_else(PoisonError::into_inner) {
            http.stop();
        }
    }
}
