//! The text format of Prometheus: families, labels and numbers as lines.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};

/// In front of every name.
const PREFIX: &str = "aclarai_scheduler";

/// The kinds of metric there are here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Summary,
}

/// A value of the text format. Whole numbers are exact up to 2^53, which no counter here reaches in its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) f64);

impl From<u64> for Number {
    fn from(count: u64) -> Number {
        Number(count as f64)
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Number {
        Number(if is_so { 1.0 } else { 0.0 })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

pub(super) fn at(instant: DateTime<Utc>) -> Number {
    Number(instant.timestamp_micros() as f64 / 1e6)
}

/// The text as it grows, family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    family: String,
}

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        self.family = format!("{PREFIX}_{name}");
        self.line(format_args!("# HELP {} {help}", self.family.clone()));
        self.line(format_args!("# TYPE {} {kind}", self.family.clone()));
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) {
        self.suffixed("", labels, value.into());
    }

    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: Number) {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        self.line(format_args!("{}{suffix}{labels} {value}", self.family.clone()));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes whatever is written to it");
    }
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
