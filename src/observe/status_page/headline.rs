//! The first line: is all well, and if not, what is to be done?

use maud::{Markup, PreEscaped, html};

use super::super::known::Now;
use super::super::seen::{SeenDaemon, SeenJob};
use super::words::{Said, counted, job_link, link, run_address, said, time, when};
use crate::history::went_wrong;
use crate::job::{RunRecord, RunState};
use crate::reconcile::Waiting;

/// More jobs than these are not named in the first lines.
const NAMED_MAX: usize = 5;

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing to do.
    Well,
    /// Somebody should look.
    Look,
    /// Nothing runs, or nobody can say, or not as the configuration has it.
    Stopped,
}

/// The first line, and what belongs to it.
pub(super) struct Headline {
    level: Level,
    title: String,
    lines: Vec<Markup>,
}

impl Headline {
    /// That nothing can be shown.
    pub(super) fn of_fault(error: &str) -> Headline {
        let lines = vec![html! { (said(error)) }];
        Headline {
            lines,
            ..Headline::plain(Level::Stopped, "The state folder cannot be read.".to_owned())
        }
    }

    /// The line for a moment.
    pub(super) fn of(
        now: &Now,
        daemon: &SeenDaemon<'_>,
        jobs: &[SeenJob<'_>],
        waiting: &[Waiting],
    ) -> Headline {
        let mut headline = Headline::plain(Level::Well, String::new());
        headline.tell_of_daemon(now, daemon);
        headline.tell_of_jobs(now, jobs);
        headline.tell_of_vault(waiting);
        let is_scheduled = |job: &SeenJob<'_>| job.spec.is_scheduled() && job.runnable;
        if !jobs.iter().any(is_scheduled) {
            let line = html! { code { "enabled: true" } " in the configuration lets a job run by its schedule." };
            headline.tell(Level::Look, "Nothing is scheduled: no job is enabled.".to_owned(), line);
        }
        if headline.level == Level::Well {
            headline.title = "All is well.".to_owned();
        }
        headline.lines.push(summary(now, daemon, jobs));
        headline
    }

    /// The worst comes first, and gives the line its words.
    fn tell(&mut self, level: Level, title: String, line: Markup) {
        if level > self.level {
            self.level = level;
            self.title = title;
        }
        self.lines.push(line);
    }

    fn tell_of_daemon(&mut self, now: &Now, daemon: &SeenDaemon<'_>) {
        for reason in daemon.health.iter().flat_map(|health| &health.reasons) {
            let (title, remedy) = about(reason);
            self.tell(
                Level::Stopped,
                title.to_owned(),
                html! { strong { (said(reason)) } ". " (remedy) },
            );
        }
        if now.is_stopping {
            let line =
                html! { "Runs that are under way have their grace time; nothing new begins." };
            self.tell(Level::Stopped, "The daemon is stopping.".to_owned(), line);
        }
        let sign = daemon.health.as_ref().and_then(|health| health.sign.as_ref());
        if let Some(standing) = sign.and_then(|sign| sign.standby.as_deref()) {
            let (level, title, meaning) = match standing.starts_with("standby") {
                true => (
                    Level::Stopped,
                    "Nothing runs here: this host is on standby.",
                    "Jobs run on the host that holds the lease.",
                ),
                false => (
                    Level::Look,
                    "The lease needs a look.",
                    "Jobs go on here until it runs out; then another host may take over.",
                ),
            };
            let line = html! { strong { (said(standing)) "." } " " (meaning) };
            self.tell(level, title.to_owned(), line);
        }
        if let Some(why) = &now.paused {
            let line = html! {
                strong { "Paused by " (said(why)) "." } " Runs that fall due are skipped and recorded. "
                code { "aclarai-scheduler resume" } " removes the pause file; a variable is unset where it was set."
            };
            self.tell(Level::Stopped, "Nothing runs by its schedule: paused.".to_owned(), line);
        }
        if let Some((at, error)) = &now.refused {
            let line = html! {
                strong { "The configuration was refused at the last reload, " (time(*at, now.moment.wall)) ":" } " "
                bdi { (Said(error, 600)) } ". The old one stays in force. Correct the file, and reload: "
                code { "aclarai-scheduler check" } " shows each fault on its own line."
            };
            self.tell(Level::Stopped, "The new configuration was refused.".to_owned(), line);
        }
    }

    fn tell_of_jobs(&mut self, now: &Now, jobs: &[SeenJob<'_>]) {
        let failing: Vec<(&SeenJob<'_>, &RunRecord)> = jobs.iter().filter_map(failing).collect();
        let title = match failing.len() {
            0 => return,
            1 => "A job needs a look.".to_owned(),
            count => format!("{} need a look.", counted(count, "job")),
        };
        for (job, record) in failing.iter().take(NAMED_MAX) {
            self.tell(Level::Look, title.clone(), wrong(now, job, record));
        }
        if failing.len() > NAMED_MAX {
            let more = failing.len() - NAMED_MAX;
            self.lines.push(html! { (counted(more, "more job")) " below." });
        }
    }

    fn tell_of_vault(&mut self, waiting: &[Waiting]) {
        if waiting.is_empty() {
            return;
        }
        let verb = if waiting.len() == 1 { "waits" } else { "wait" };
        let line = html! {
            a href="/attention" { (counted(waiting.len(), "thing")) " of the vault " (verb) " for a person" }
            ", each with what to do."
        };
        self.tell(Level::Look, "The vault needs a look.".to_owned(), line);
    }

    /// A first line that stands for itself.
    pub(super) fn plain(level: Level, title: String) -> Headline {
        Headline { level, title, lines: Vec::new() }
    }

    pub(super) fn show(&self) -> Markup {
        let (class, shape) = match self.level {
            Level::Well => (
                "well",
                r#"<path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM7 12 3.2 8.2l1.5-1.5L7 9l4.6-4.6 1.5 1.5z"/>"#,
            ),
            Level::Look => {
                ("look", r#"<path d="M8 1 16 15H0zM7.1 6v4.4h1.8V6zm0 5.6v1.8h1.8v-1.8z"/>"#)
            }
            Level::Stopped => ("stopped", r#"<path d="M0 0h16v16H0zm7 3v6.4h2V3zm0 8v2h2v-2z"/>"#),
        };
        html! {
            header class=(class) {
                h1 {
                    svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
                        (PreEscaped(shape.replace("<path ", r#"<path fill-rule="evenodd" "#)))
                    }
                    " " (self.title)
                }
                @for line in &self.lines { p { (line) } }
            }
        }
    }
}

/// A job whose last run went wrong, if it is one that is to run.
fn failing<'j, 'c>(job: &'j SeenJob<'c>) -> Option<(&'j SeenJob<'c>, &'j RunRecord)> {
    let record = job.last.as_ref()?;
    (job.spec.enabled && went_wrong(record) == Some(true)).then_some((job, record))
}

/// Whether a job is one that somebody should look at.
pub(super) fn is_failing(job: &SeenJob<'_>) -> bool {
    failing(job).is_some()
}

fn wrong(now: &Now, job: &SeenJob<'_>, record: &RunRecord) -> Markup {
    let at = record.finished_at.unwrap_or(record.decided_at);
    let verb = match record.state {
        RunState::Succeeded => "asks for a person",
        RunState::Interrupted => "was interrupted",
        _ => "failed",
    };
    html! {
        strong { (job_link(&job.spec.name)) " " (verb) } " " (when(at, now.moment.wall))
        @if let Some(error) = &record.error { ": " bdi { (Said(error, 200)) } }
        ". " span class="pair" { (link(&run_address(&record.run_id), &html! { "What happened" })) "." }
    }
}

/// The words for the first line, and the remedy, of a reason why a daemon is not healthy.
fn about(reason: &str) -> (&'static str, Markup) {
    let restart = html! { "Restart it; the last lines of its log tell where it stands." };
    let begins = |word: &str| reason.starts_with(word);
    if begins("daemon hangs") || begins("nothing was decided") {
        ("Nothing is decided: the daemon hangs.", restart)
    } else if begins("clock not set") {
        let remedy = html! { "Set the clock, or wait until the network has set it: what fell due is decided then." };
        ("Nothing runs: the clock is not set.", remedy)
    } else if begins("state file") || begins("the disk of") {
        let remedy = html! { "Nothing starts until it can be written again. " a href="/docs/troubleshooting#the-state-folder" { "What to do" } "." };
        ("Nothing runs: the state file cannot be written.", remedy)
    } else if begins("all workers are held") {
        let remedy = html! { "Give these jobs a " code { "timeout" } ", or raise " code { "scheduler.workers" } "." };
        ("Runs wait: all workers are held.", remedy)
    } else if begins("pause file cannot be looked at") {
        let remedy = html! { "The vault or " code { ".env" } " does not answer; the last known answer counts." };
        ("Nobody can say whether automation is paused.", remedy)
    } else {
        (
            "The daemon is not healthy.",
            html! { a href="/docs/troubleshooting" { "Troubleshooting" } },
        )
    }
}

/// How many jobs there are, what runs, and what is next.
fn summary(now: &Now, daemon: &SeenDaemon<'_>, jobs: &[SeenJob<'_>]) -> Markup {
    let scheduled = jobs.iter().filter(|job| job.spec.is_scheduled() && job.runnable).count();
    let running = daemon.open.iter().filter(|run| run.record.state == RunState::Running).count();
    let waiting = daemon.open.len() - running;
    // A name that a shell takes as it is.
    let is_plain =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let first = daemon.next.map(|(_, job)| job.as_str()).filter(is_plain).unwrap_or("JOB");
    html! {
        @if scheduled > 0 {
            (counted(scheduled, "job")) " by schedule"
            @if running > 0 { ", " (number_run(running)) " now" }
            @if waiting > 0 { ", " (waiting) " waiting for a worker" }
            "."
        }
        @if let Some((at, job)) = &daemon.next {
            " Next: " (job_link(job)) " " (when(*at, now.moment.wall)) "."
        }
        @if scheduled > 0 && jobs.iter().all(|job| job.last.is_none()) {
            " Nothing has run yet; " code { "aclarai-scheduler run " (Said(first, 120)) } " runs it now."
        }
    }
}

fn number_run(running: usize) -> String {
    if running == 1 { "1 runs".to_owned() } else { format!("{running} run") }
}
