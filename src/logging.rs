//! The log: one event, one line on standard error, as JSON for machines or as text for a person.
//!
//! Any room writes with the macros of this one: a fixed message, and the variables as key-values. Where the line comes
//! from, `walk.read_folder`, the compiler says: the file and the function that the macro stands in become the field
//! `filename.function_name`. Lines of other crates show their module there.
//!
//! ```ignore
//! logging::warn!(path, error; "folder left out");
//! ```
//!
//! This file formats and writes; it does not know what is worth a line.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use env_logger::fmt::style::{AnsiColor, Style};
use env_logger::{Target, WriteStyle};
use log::kv::{self, VisitSource, VisitValue};
use log::{Level, LevelFilter, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::text::{self, acts_unseen, instant_ms, visible};

/// The `service` of every line.
const SERVICE: &str = "aclarai-scheduler";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For a person; coloured on a terminal unless `NO_COLOR` is set.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text where standard error is a terminal, else JSON.
    pub(crate) fn of_stderr() -> LogFormat {
        if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }
    }
}

/// The name of the file and of the function that a line stands in, with a dot between. `inside` is the path of something
/// that was declared in that function, as the compiler spells it.
pub(crate) fn place(module: &str, inside: &str) -> String {
    let file = module.rsplit("::").next().unwrap_or(module);
    let mut function = inside.rsplit("::").skip(1).skip_while(|name| *name == "{{closure}}");
    format!("{file}.{}", function.next().unwrap_or("?"))
}

/// A line of the given level: `at!(level, key = value; "message")`.
macro_rules! at {
    ($level:expr, $($line:tt)+) => {
        ::log::log!(
            target: &{
                // A function of its own: its path begins with that of the function around it.
                fn here() {}
                $crate::logging::place(module_path!(), std::any::type_name_of_val(&here))
            },
            $level,
            $($line)+
        )
    };
}
pub(crate) use at;

/// A line of level `ERROR`: `error!(key = value; "message")`.
macro_rules! error_line {
    ($($line:tt)+) => { $crate::logging::at!(::log::Level::Error, $($line)+) };
}
pub(crate) use error_line as error;

/// A line of level `WARNING`.
macro_rules! warn_line {
    ($($line:tt)+) => { $crate::logging::at!(::log::Level::Warn, $($line)+) };
}
pub(crate) use warn_line as warn;

/// A line of level `INFO`.
macro_rules! info_line {
    ($($line:tt)+) => { $crate::logging::at!(::log::Level::Info, $($line)+) };
}
pub(crate) use info_line as info;

/// A line of level `DEBUG`.
macro_rules! debug_line {
    ($($line:tt)+) => { $crate::logging::at!(::log::Level::Debug, $($line)+) };
}
pub(crate) use debug_line as debug;

/// The log of this process, set up by [`init`].
#[derive(Debug)]
pub(crate) struct Logging {
    /// False for a process that had a logger before.
    in_charge: bool,
}

/// Sends what is logged from now on to standard error. A process that has a logger already keeps it, as a program that
/// uses this crate as a library may: the answer then changes nothing.
pub(crate) fn init(format: LogFormat, level: LevelFilter, clock: Arc<dyn Clock>) -> Logging {
    let colours = format == LogFormat::Text && wants_colours();
    let in_charge = env_logger::Builder::new()
        .filter_level(LevelFilter::Trace)
        // Lines of these crates below a warning hold queries with their parameters: text of blocks, and secrets.
        .filter_module("neo4rs", LevelFilter::Warn)
        .filter_module("rustls", LevelFilter::Warn)
        .target(Target::Pipe(Box::new(Stderr {
            format,
            clock: Arc::clone(&clock),
            lost: 0,
            torn: false,
        })))
        .write_style(if colours { WriteStyle::Always } else { WriteStyle::Never })
        .format(move |line, record| {
            line.write_all(priority(record.level()).as_bytes())?;
            write_line(line, format, record, clock.now())
        })
        .try_init()
        .is_ok();
    let logging = Logging { in_charge };
    logging.set_level(level);
    logging
}

impl Logging {
    /// Shows lines of `level` and worse from now on.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        if self.in_charge {
            log::set_max_level(level);
        }
    }

    /// From now on no thread waits for whoever reads the log: with a reader that has stopped reading, lines are lost,
    /// and counted in a line of their own once it reads again. For a daemon, whose runs matter more than its words.
    pub(crate) fn never_block(&self) {
        NEVER_BLOCKS.store(true, Ordering::Relaxed);
    }

    /// Lets a progress bar share the terminal: until the answer is dropped, each line is written inside `suspend`,
    /// which takes the bar off the screen, calls what it is given, and draws the bar again. It must not log.
    pub(crate) fn share_with_bar(
        &self,
        suspend: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static,
    ) -> SharedWithBar {
        *bar() = Some(Arc::new(suspend));
        SharedWithBar(())
    }
}

/// While this lives, a progress bar makes room for each line.
#[derive(Debug)]
pub(crate) struct SharedWithBar(());

impl Drop for SharedWithBar {
    fn drop(&mut self) {
        *bar() = None;
    }
}

/// Takes a progress bar off the screen while it calls what it is given.
type Suspend = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

fn bar() -> std::sync::MutexGuard<'static, Option<Suspend>> {
    static BAR: Mutex<Option<Suspend>> = Mutex::new(None);
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Set by [`Logging::never_block`].
static NEVER_BLOCKS: AtomicBool = AtomicBool::new(false);

/// How long a reader that does not keep up is waited for, once.
const PATIENCE: Duration = Duration::from_secs(1);

/// As much as fits into a pipe that says it can be written to.
const PIPE_BUF: usize = 4_096;

/// Standard error, whatever its state: a line that cannot be written is lost, and nothing else happens.
struct Stderr {
    format: LogFormat,
    clock: Arc<dyn Clock>,
    /// Lines that were lost since the reader stopped reading.
    lost: u64,
    /// Whether the last of them was written in part.
    torn: bool,
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let suspend = bar().clone();
        match suspend {
            Some(suspend) => suspend(&mut || self.put(line)),
            None => self.put(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stderr {
    fn put(&mut self, line: &[u8]) {
        if !NEVER_BLOCKS.load(Ordering::Relaxed) {
            let _ = io::stderr().lock().write_all(line);
            return;
        }
        let waited_before = self.lost > 0;
        if waited_before && self.offer(&self.loss(), Duration::ZERO) {
            self.lost = 0;
        }
        let patience = if waited_before { Duration::ZERO } else { PATIENCE };
        if self.lost > 0 || !self.offer(line, patience) {
            self.lost += 1;
        }
    }

    /// Writes as long as that takes no more than `patience`; false if something was left.
    fn offer(&mut self, line: &[u8], patience: Duration) -> bool {
        for (n, chunk) in line.chunks(PIPE_BUF).enumerate() {
            if !can_be_written(patience) {
                self.torn |= n > 0;
                return false;
            }
            // An error is no reason to wait: the reader is gone, or the disk is full.
            let _ = io::stderr().lock().write_all(chunk);
        }
        self.torn = false;
        true
    }

    /// The line that tells of the lost ones.
    fn loss(&self) -> Vec<u8> {
        let mut line = if self.torn { b"\n".to_vec() } else { Vec::new() };
        line.extend_from_slice(priority(Level::Warn).as_bytes());
        let lost = [("lines", self.lost)];
        let message = format_args!("log lines were lost: nobody read them");
        let record = Record::builder()
            .level(Level::Warn)
            .target("logging.put")
            .args(message)
            .key_values(&lost)
            .build();
        write_line(&mut line, self.format, &record, self.clock.now()).expect("memory takes a line");
        line
    }
}

/// Whether standard error takes [`PIPE_BUF`] bytes at once, now or within `patience`.
fn can_be_written(patience: Duration) -> bool {
    let stderr = io::stderr();
    let patience = Timespec::try_from(patience).expect("a second fits");
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&patience));
    // A descriptor that cannot be waited for is tried.
    ready.map_or(true, |ready| ready > 0)
}

fn wants_colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|term| term != "dumb")
}

/// The fields of one line, in order.
pub(crate) struct Facts(pub(crate) Map<String, Value>);

impl kv::Source for Facts {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.0.iter().try_for_each(|(key, value)| {
            let value = match value {
                Value::Null => kv::Value::null(),
                Value::Bool(flag) => kv::Value::from(*flag),
                Value::String(text) => kv::Value::from(text.as_str()),
                Value::Number(number) => {
                    match (number.as_u64(), number.as_i64(), number.as_f64()) {
                        (Some(number), _, _) => kv::Value::from(number),
                        (_, Some(number), _) => kv::Value::from(number),
                        (_, _, Some(number)) => kv::Value::from(number),
                        _ => kv::Value::from_display(number),
                    }
                }
                nested => kv::Value::from_display(nested),
            };
            visitor.visit_pair(kv::Key::from_str(key), value)
        })
    }
}

/// The fields every line begins with.
pub(crate) const RESERVED: [&str; 5] =
    ["timestamp", "level", "service", "filename.function_name", "message"];

fn write_line(
    out: &mut impl Write,
    format: LogFormat,
    record: &Record<'_>,
    now: DateTime<Utc>,
) -> io::Result<()> {
    match format {
        LogFormat::Text => write_text(out, record, now),
        LogFormat::Json => write_json(out, record, now),
    }
}

fn write_json(out: &mut impl Write, record: &Record<'_>, now: DateTime<Utc>) -> io::Result<()> {
    let mut line = Map::new();
    let values = [
        instant_ms(now).into(),
        level_name(record.level()).into(),
        SERVICE.into(),
        place_of(record).into(),
        record.args().to_string().into(),
    ];
    line.extend(RESERVED.into_iter().map(str::to_owned).zip::<[Value; 5]>(values));
    for_each_fact(record, |key, value| {
        line.entry(key).or_insert(value);
    });
    text::write_json(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn write_text(out: &mut impl Write, record: &Record<'_>, now: DateTime<Utc>) -> io::Result<()> {
    let dim = Style::new().dimmed();
    let colour = match record.level() {
        Level::Error => AnsiColor::Red,
        Level::Warn => AnsiColor::Yellow,
        Level::Info => AnsiColor::Green,
        Level::Debug | Level::Trace => AnsiColor::Blue,
    };
    let level = Style::new().bold().fg_color(Some(colour.into()));
    write!(out, "{dim}{}{dim:#} ", instant_ms(now))?;
    write!(out, "{level}{:<7}{level:#} ", level_name(record.level()))?;
    write!(out, "{}", visible(&record.args().to_string()))?;
    let mut facts = String::new();
    for_each_fact(record, |key, value| {
        let key = visible(&key);
        facts += &match value {
            Value::String(text) if is_plain(&text) => format!(" {dim}{key}={dim:#}{text}"),
            Value::String(text) => format!(" {dim}{key}={dim:#}\"{}\"", visible(&text)),
            other => format!(" {dim}{key}={dim:#}{other}"),
        }
    });
    writeln!(out, "{facts} {dim}({}){dim:#}", place_of(record))
}

/// How the journal is told how much a line matters, so that `journalctl -p err` finds it. Empty where standard error is
/// not the journal's.
pub(crate) fn priority(level: Level) -> &'static str {
    if !is_journal() {
        return "";
    }
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether standard error goes to the journal: `JOURNAL_STREAM` names its device and inode, as sd-daemon(3) has it. A
/// process that was handed on the variable and not the stream does not count.
fn is_journal() -> bool {
    static IS_JOURNAL: OnceLock<bool> = OnceLock::new();
    *IS_JOURNAL.get_or_init(|| {
        let named = std::env::var("JOURNAL_STREAM").ok();
        let stream = rustix::fs::fstat(io::stderr()).ok();
        named
            .zip(stream)
            .is_some_and(|(named, stream)| named == format!("{}:{}", stream.st_dev, stream.st_ino))
    })
}

/// The original's names.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

/// `filename.function_name`: the target where a line names it, else the last two names of the module.
fn place_of(record: &Record<'_>) -> String {
    let target = record.target();
    if !target.contains("::") && target.contains('.') {
        return target.to_owned();
    }
    let path = target.strip_prefix(concat!(env!("CARGO_CRATE_NAME"), "::")).unwrap_or(target);
    let mut names: Vec<&str> = path.rsplit("::").take(2).collect();
    names.reverse();
    names.join(".")
}

fn for_each_fact(record: &Record<'_>, each: impl FnMut(String, Value)) {
    struct Each<F>(F);
    impl<'kvs, F: FnMut(String, Value)> VisitSource<'kvs> for Each<F> {
        fn visit_pair(
            &mut self,
            key: kv::Key<'kvs>,
            value: kv::Value<'kvs>,
        ) -> Result<(), kv::Error> {
            let mut typed = Typed(Value::Null);
            value.visit(&mut typed)?;
            (self.0)(key.to_string(), typed.0);
            Ok(())
        }
    }
    // The visitor has no error of its own, and a line with some of its facts is better than none.
    let _ = record.key_values().visit(&mut Each(each));
}

/// Takes a value as what it is, so that a number stays a number.
struct Typed(Value);

impl VisitValue<'_> for Typed {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

/// Whether a value can stand without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !acts_unseen(c) && !matches!(c, '"' | '='))
}

#[cfg(test)]
mod tests;
