//! The text format of Prometheus, and OpenMetrics, its successor: families, labels and numbers as lines.

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

/// The forms of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// The text format of Prometheus, 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0: a counter's family goes without the `_total` of its samples, and the text has an end.
    OpenMetrics,
}

/// The text as it grows, family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    form: Form,
    family: String,
}

impl Page {
    #[cfg(feature = "http")]
    pub(super) fn of(form: Form) -> Page {
        Page { form, ..Page::default() }
    }

    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.foreign_family(&format!("{PREFIX}_{name}"), kind, help);
    }

    /// A family whose name is not of this program's making.
    pub(super) fn foreign_family(&mut self, name: &str, kind: Kind, help: &str) {
        self.family = name.to_owned();
        let name = match (self.form, kind) {
            (Form::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) {
        self.suffixed("", labels, value.into());
    }

    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: Number) {
        // With a thousand jobs there are tens of thousands of lines: nothing is put together twice.
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes whatever is written to it");
    }
}

/// Writes the value of a label, which stands between quotes.
fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}
