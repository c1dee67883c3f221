//! The answers to requests: which path shows what, to whom, and with which headers. Knows no socket.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::asked::{Asked, Wish, percent_decoded};
use super::counters::Shared;
use super::known::{Known, Now, lock};
use super::page::{self, Form, Kind, Page};
use super::process;
use super::seen::SeenJob;
use super::status_page;
use crate::clock::{Clock, Moment};
use crate::gate::Standing;
use crate::history::{History, row_to_json, to_json};
use crate::job::RunId;
use crate::logging;
use crate::scheduler::health;
use crate::state::StateError;
use crate::text::write_json;

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// No answer is kept anywhere, shown in another site's frame, or taken for another kind than it is.
const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-store"),
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'";
/// The page itself may run the one script of this site, which shows times in the reader's zone.
const POLICY_OF_PAGES: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; script-src 'self'";

impl Answer {
    fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, kind, headers: HEADERS.to_vec(), body: body.into() }
    }

    /// A line of plain text.
    pub(super) fn text(status: u16, line: &str) -> Answer {
        Answer::new(status, TEXT, format!("{line}\n"))
    }

    fn json(status: u16, value: &impl Serialize) -> Answer {
        let mut body = Vec::new();
        // A `Vec` takes whatever is written to it.
        let _ = write_json(&mut body, value);
        body.push(b'\n');
        Answer::new(status, JSON, body)
    }

    fn page(status: u16, html: String) -> Answer {
        let mut answer = Answer::new(status, HTML, html);
        answer.headers.push(("content-security-policy", POLICY_OF_PAGES));
        answer
    }
}

/// All that is served.
pub(crate) struct Site {
    clock: Arc<dyn Clock>,
    counters: Shared,
    known: Mutex<Arc<Known>>,
    /// When and why another configuration was refused.
    refused: Mutex<Option<(DateTime<Utc>, String)>>,
}

impl Site {
    pub(crate) fn new(clock: Arc<dyn Clock>, counters: Shared, known: Known) -> Site {
        let known = Mutex::new(Arc::new(known));
        Site { clock, counters, known, refused: Mutex::new(None) }
    }

    /// Another configuration is in force.
    pub(crate) fn renew(&self, known: Known) {
        *lock(&self.known) = Arc::new(known);
        *lock(&self.refused) = None;
    }

    /// Another configuration was refused.
    pub(crate) fn refuse(&self, error: &str) {
        *lock(&self.refused) = Some((self.clock.now(), error.to_owned()));
    }

    /// Whether the answer needs nothing but what is in memory.
    pub(super) fn is_at_hand(asked: &Asked) -> bool {
        ["/metrics", "/style.css", "/page.js"].contains(&asked.path.as_str())
    }

    /// The answer to a request.
    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let known = Arc::clone(&lock(&self.known));
        if !["GET", "HEAD"].contains(&asked.method.as_str()) {
            let mut answer = Answer::text(405, "only GET and HEAD: this shows and changes nothing");
            answer.headers.push(("allow", "GET, HEAD"));
            return answer;
        }
        match asked.hosts.as_slice() {
            [] if asked.is_old => {}
            [host] if is_for_us(host, &known.hosts) => {}
            [_] => {
                return Answer::text(
                    421,
                    "this name is not known here: use an address or localhost, or add the name to scheduler.listen_hosts",
                );
            }
            _ => return Answer::text(400, "a request names one Host"),
        }
        match asked.path.as_str() {
            "/healthz" => self.healthz(&known),
            "/readyz" => self.readyz(&known),
            "/metrics" => self.metrics(&known, &asked.accept),
            "/style.css" => Answer::new(200, "text/css; charset=utf-8", status_page::STYLE),
            "/page.js" => Answer::new(200, "text/javascript; charset=utf-8", status_page::SCRIPT),
            path => match path.strip_prefix("/api/v1/") {
                Some(path) => self.api(known, path, asked),
                None => self.page(known, asked),
            },
        }
    }

    fn now(&self, known: Arc<Known>) -> Now {
        let moment = Moment::of(&*self.clock);
        let (last_known, is_stopping) = match self.counters.lock().status() {
            Some(status) => (status.paused.clone(), status.stopping),
            None => (None, false),
        };
        let paused = known.paused(last_known, moment.wall);
        Now { moment, paused, is_stopping, refused: lock(&self.refused).clone(), known }
    }

    fn healthz(&self, known: &Known) -> Answer {
        let reasons = health::of(&known.state_dir, Moment::of(&*self.clock)).reasons;
        if !reasons.is_empty() {
            return Answer::text(503, &one_line(&reasons));
        }
        let held_back = self.counters.lock().status().and_then(|status| {
            let paused = status.paused.as_ref().map(|why| format!("paused by {why}"));
            paused.or_else(|| status.lease.as_ref()?.in_words())
        });
        match held_back {
            Some(why) => Answer::text(200, &one_line(&[format!("ok: {why}")])),
            None => Answer::text(200, "ok"),
        }
    }

    /// Whether runs begin by their schedule now.
    fn readyz(&self, known: &Known) -> Answer {
        let mut reasons = health::of(&known.state_dir, Moment::of(&*self.clock)).reasons;
        match self.counters.lock().status() {
            None => reasons.push("not begun yet".to_owned()),
            Some(status) => {
                reasons.extend(status.paused.as_ref().map(|why| format!("paused by {why}")));
                if let Some(standing @ Standing::Follower { .. }) = &status.lease {
                    reasons.extend(standing.in_words());
                }
                if status.stopping {
                    reasons.push("stopping".to_owned());
                }
            }
        }
        match reasons.is_empty() {
            true => Answer::text(200, "ready"),
            false => Answer::text(503, &one_line(&reasons)),
        }
    }

    fn metrics(&self, known: &Known, accept: &str) -> Answer {
        let (form, kind) = match prefers_open_metrics(accept) {
            true => (Form::OpenMetrics, OPEN_METRICS),
            false => (Form::Prometheus, PROMETHEUS),
        };
        let mut page = Page::of(form);
        process::render(&mut page);
        if let Some(marks) = known.marks(self.clock.now()) {
            let help = "Blocks that are marked for reprocessing.";
            page.family("blocks_marked", Kind::Gauge, help);
            page.sample(&[], marks.count);
            if let Some(oldest) = marks.oldest {
                let help = "Since when the oldest of them is marked.";
                page.family("oldest_mark_timestamp_seconds", Kind::Gauge, help);
                page.sample(&[], page::at(oldest));
            }
        }
        let mut counters = self.counters.lock();
        counters.look_ahead(self.clock.now());
        Answer::new(200, kind, counters.render_to(page).finish())
    }

    fn api(&self, known: Arc<Known>, path: &str, asked: &Asked) -> Answer {
        let answered = match path {
            "status" => self.status(known),
            "jobs" => self.jobs(known),
            "history" => history(&known, asked),
            path => match path.strip_prefix("runs/").and_then(percent_decoded) {
                Some(id) => run(&known, &id),
                None => Ok(refusal(404, "there are status, jobs, history and runs/JOB_ID")),
            },
        };
        answered.unwrap_or_else(|error| refusal(503, &error.to_string()))
    }

    fn status(&self, known: Arc<Known>) -> Result<Answer, StateError> {
        let now = self.now(known);
        let marks = now.known.marks(now.moment.wall);
        Ok(Answer::json(200, &now.daemon()?.to_json(marks.as_ref())))
    }

    fn jobs(&self, known: Arc<Known>) -> Result<Answer, StateError> {
        let now = self.now(known);
        let jobs = now.jobs(&now.daemon()?)?;
        Ok(Answer::json(200, &jobs.iter().map(SeenJob::to_json).collect::<Vec<_>>()))
    }

    fn page(&self, known: Arc<Known>, asked: &Asked) -> Answer {
        match status_page::page(&self.now(known), asked) {
            Ok((status, html)) => Answer::page(status, html),
            Err(error) => {
                logging::warn!(error = error.to_string().as_str(); "a page cannot be shown");
                Answer::page(503, status_page::failed(&error.to_string()))
            }
        }
    }
}

fn one_line(reasons: &[String]) -> String {
    crate::text::visible(&reasons.join("; ")).into_owned()
}

fn refusal(status: u16, error: &str) -> Answer {
    Answer::json(status, &json!({ "error": error }))
}

/// How many rows a request gets at most.
const ROWS_MAX: usize = 1_000;

/// How many it gets unless it says so, as the command does.
const ROWS: usize = 20;

fn history(known: &Known, asked: &Asked) -> Result<Answer, StateError> {
    let number = match asked.field("n").map(|n| n.parse()) {
        None => ROWS,
        Some(Ok(number @ 1..=ROWS_MAX)) => number,
        Some(_) => return Ok(refusal(400, &format!("n: write a number from 1 to {ROWS_MAX}"))),
    };
    let wish = match Wish::of(asked) {
        Ok(wish) => wish,
        Err(error) => return Ok(refusal(400, &error)),
    };
    let history = History::open(&known.state_dir)?;
    if let (Some(history), Some(before)) = (&history, &wish.before)
        && history.run(before)?.is_none()
    {
        let form = "write an instant such as 2026-08-24T03:00:00Z, or the job_id of a run";
        return Ok(refusal(400, &format!("before: {form}")));
    }
    let records = match history {
        Some(history) => history.found(&wish.filter(), number)?,
        None => Vec::new(),
    };
    if let (Some(job), true) = (&wish.job, records.is_empty())
        && !known.jobs.contains_key(job)
    {
        return Ok(refusal(404, &format!("no job is named {:?}", job.as_str())));
    }
    Ok(Answer::json(200, &records.iter().map(row_to_json).collect::<Vec<_>>()))
}

fn run(known: &Known, id: &str) -> Result<Answer, StateError> {
    let id = RunId::from_stored(id.to_owned());
    let found = History::open(&known.state_dir)?.map(|history| history.run(&id)).transpose()?;
    Ok(match found.flatten() {
        Some(record) => Answer::json(200, &Value::Object(to_json(&record))),
        None => refusal(404, &format!("no run has the id {:?}", id.as_str())),
    })
}

/// Whether a request that calls this program so was meant for it. A page elsewhere whose name was made to lead here names
/// itself.
fn is_for_us(host: &str, hosts: &[String]) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (name.starts_with('[') || !name.contains(':')) => {
            name
        }
        _ => host,
    };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.to_ascii_lowercase();
    name.parse::<Ipv4Addr>().is_ok() || name == "localhost" || hosts.contains(&name)
}

/// Whether OpenMetrics is asked for, and the older form is not preferred to it.
fn prefers_open_metrics(accept: &str) -> bool {
    let quality = |wanted: &str| {
        let weight = |item: &str| {
            let mut parts = item.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let q =
                parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0)))
        };
        accept.split(',').filter_map(weight).fold(0.0, f64::max)
    };
    let open = quality("application/openmetrics-text");
    open > 0.0 && open >= quality("text/plain")
}

#[cfg(test)]
mod tests;
