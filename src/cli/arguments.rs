//! The command line, as clap sees it. Names here are fixed: scripts use them.

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Every command by an example, because an example says more than a synopsis, on one screen of 24 lines of 80 columns.
/// A test holds this list complete.
const HELP: &str = "\
{about}
Usage: {usage}
Commands, each by an example (`aclarai-scheduler COMMAND --help` tells more):
  serve --listen :9464      the daemon, the default command, with a page
  run vault_sync --dry-run  one job now; prints its result
  jobs                      every job: schedule, next fire time, last outcome
  next vault_sync -n 3      fire times of a job, or of --cron \"0 3 * * 1\"
  check                     checks everything a run needs, says how to mend it
  history vault_sync -n 20  past runs, and what made none, with the reason
  status                    the daemon: since when, what runs, what is next
  attention                 all that waits for a person, with the remedy
  backup /srv/backup        copies of state and graph, while all goes on
  pause    resume           nothing starts by its schedule; it does again
  purge --older-than 30d    deletes blocks archived longer ago; try --dry-run
  dirty  done ID  show ID   marked blocks; takes marks away; one block, whole
  blocks notes/idea.md      what the parser sees in a file
  bench --files 10000       how fast this machine scans and stores a vault
  install --user --dry-run  what it takes to run under systemd
  completions bash          completion of these words by a shell

Options, before or after the command:
  --config PATH  --vault PATH  --state-dir PATH  --log-format text|json
  --metrics-file PATH  --log-level DEBUG|INFO|WARNING|ERROR
  --init  -h, --help  -V, --version
";

/// Keeps a Markdown vault and a knowledge graph in step, and runs other jobs
#[derive(Debug, Parser)]
#[command(
    name = "aclarai-scheduler",
    version = version(),
    help_template = HELP,
    next_help_heading = "Options, before or after the command",
    max_term_width = 100,
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Global {
    /// Configuration file [else $ACLARAI_CONFIG, ./settings/, /etc/aclarai-scheduler/]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// The vault [else $VAULT_PATH, paths.vault]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) vault: Option<PathBuf>,
    /// State folder [else $STATE_DIRECTORY, $XDG_STATE_HOME, ~/.local/state]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) state_dir: Option<PathBuf>,
    /// Keep numbers for Prometheus' node_exporter in this file (`serve` and `run`)
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) metrics_file: Option<PathBuf>,
    /// Log as text or json on standard error [default: text on a terminal, else json]
    #[arg(long, global = true, value_name = "FORMAT", hide_possible_values = true)]
    pub(super) log_format: Option<LogFormat>,
    /// DEBUG, INFO, WARNING or ERROR [else $LOG_LEVEL, logging.level]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Reap orphaned processes, as process number 1 always does
    #[arg(long, global = true)]
    // Obeyed by `jobs::init`, before the arguments are read.
    init: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the daemon in the foreground
    #[command(
        after_help = "Examples: aclarai-scheduler serve --config /etc/aclarai-scheduler/aclarai.config.yaml\n          \
                      aclarai-scheduler serve --listen 127.0.0.1:9464"
    )]
    Serve(Serve),
    /// Runs one job now, whatever `enabled`, `manual_only` and a pause say
    #[command(after_help = "Example: aclarai-scheduler run vault_sync --full --json")]
    Run(Run),
    /// Shows every job: schedule, enabled, next fire times, last outcome
    #[command(after_help = "Example: aclarai-scheduler jobs --json")]
    Jobs(Format),
    /// Prints fire times, one RFC 3339 UTC instant a line; nothing if it never fires
    #[command(after_help = "Examples: aclarai-scheduler next vault_sync -n 3\n          \
                      aclarai-scheduler next --cron \"0 3 * * 1\" --timezone Europe/Berlin")]
    Next(Next),
    /// Checks configuration, cron lines, vault, state folder and graph: one line each, with the remedy
    #[command(after_help = "Example: aclarai-scheduler check")]
    Check(Format),
    /// Shows past runs, and occurrences that made none, the newest first
    #[command(
        after_help = "Examples: aclarai-scheduler history vault_sync -n 20\n          aclarai-scheduler history --at 2026-08-24T03:00Z"
    )]
    History(History),
    /// Tells whether a daemon runs and is well, since when, its runs and the next one; exit code 4 if not
    #[command(after_help = "Example: aclarai-scheduler status --json")]
    Status(Format),
    /// Shows all that waits for a person, each with the remedy; exit code 3 while there is any
    #[command(after_help = "Example: aclarai-scheduler attention")]
    Attention(Format),
    /// Copies state file and embedded graph into a folder, consistent while a daemon goes on
    #[command(after_help = "Example: aclarai-scheduler backup /srv/backup/aclarai")]
    Backup {
        /// The folder for the copies; it is made where it is missing
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Creates the pause file: nothing starts by schedule until `resume`
    #[command(after_help = "Example: aclarai-scheduler pause --vault ~/notes")]
    Pause,
    /// Removes the pause file
    #[command(after_help = "Example: aclarai-scheduler resume --vault ~/notes")]
    Resume,
    /// Deletes blocks that were archived longer ago than that; nothing else ever deletes from the graph
    #[command(after_help = "Example: aclarai-scheduler purge --older-than 30d --dry-run")]
    Purge(Purge),
    /// Shows the blocks that are marked for reprocessing, the longest marked first
    #[command(after_help = "Example: aclarai-scheduler dirty --tier 1 --limit 10")]
    Dirty(Dirty),
    /// Takes the marks of blocks away, each only where the block did not change meanwhile; exit code 3 where one did
    #[command(after_help = "Examples: aclarai-scheduler done blk_7f3k blk_9q2x@4\n          \
                      aclarai-scheduler dirty --json | ./my_program | aclarai-scheduler done -")]
    Done(Done),
    /// Shows everything the graph knows of a block
    #[command(after_help = "Example: aclarai-scheduler show blk_7f3k")]
    Show(Show),
    /// Shows what the parser sees in files: id, version, line, level, text, hashes, warnings
    #[command(after_help = "Example: aclarai-scheduler blocks notes/idea.md --json")]
    Blocks(Blocks),
    /// Measures how fast this machine walks, reads, hashes, parses and stores a vault, which it only reads
    #[command(after_help = "Example: aclarai-scheduler bench --vault ~/notes")]
    Bench(Bench),
    /// Places unit, configuration and folders for systemd; a file that a person may have edited is left as it is
    #[command(
        after_help = "Examples: aclarai-scheduler install --user --vault ~/notes --dry-run\n          \
                      sudo aclarai-scheduler install"
    )]
    Install(Install),
    /// Prints a script by which a shell completes commands, options and names of jobs
    #[command(
        after_help = "Example: aclarai-scheduler completions bash > ~/.local/share/bash-completion/completions/aclarai-scheduler"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// For this user alone, not for the machine
    #[arg(long)]
    pub(super) user: bool,
    /// Change nothing; tell what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The shells there are completions for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The job, as it is named below scheduler.jobs
    pub(super) job: String,
    /// Read and compare everything, whatever the local state remembers
    #[arg(long)]
    pub(super) full: bool,
    /// Write nothing anywhere; show what would happen
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Tell of each block that is not left alone why
    #[arg(long)]
    pub(super) explain: bool,
    /// Archive missing blocks even where the guard would not
    #[arg(long)]
    pub(super) allow_archive: bool,
    /// Sync this vault although state folder or graph know another one
    #[arg(long)]
    pub(super) accept_vault: bool,
    /// With --explain: show what changes in each text
    #[arg(long, requires = "explain")]
    pub(super) diff: bool,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Next {
    /// The job, as it is named below scheduler.jobs
    #[arg(required_unless_present = "cron")]
    pub(super) job: Option<String>,
    /// A cron line instead of a job
    #[arg(long, value_name = "EXPR", conflicts_with = "job")]
    pub(super) cron: Option<String>,
    /// The zone of --cron, an IANA name [default: UTC]
    #[arg(long, value_name = "TZ", requires = "cron", conflicts_with = "job")]
    pub(super) timezone: Option<String>,
    /// Start after this instant [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    pub(super) from: Option<chrono::DateTime<chrono::Utc>>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 1)]
    pub(super) number: usize,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only this job
    pub(super) job: Option<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 20)]
    pub(super) number: usize,
    /// Only rows that were due at T or later: an instant, a date, or 2h (ago)
    #[arg(long, value_name = "T", value_parser = when)]
    pub(super) since: Option<When>,
    /// Only rows that were due at T or before
    #[arg(long, value_name = "T", value_parser = when)]
    pub(super) until: Option<When>,
    /// Only rows with this outcome: succeeded, failed, interrupted, skipped, running, or the reason of a skip
    #[arg(long, value_name = "O", value_parser = OUTCOMES)]
    pub(super) outcome: Option<String>,
    /// Instead: the fate of the moment T, for each job
    #[arg(long, value_name = "T", value_parser = when, conflicts_with_all = ["number", "since", "until", "outcome"])]
    pub(super) at: Option<When>,
    /// Instead: the kept output of this run
    #[arg(long, value_name = "JOB_ID", conflicts_with_all = ["job", "number", "since", "until", "outcome", "at", "json"])]
    pub(super) output: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Serve a page, metrics and a health check here: 127.0.0.1:9464, [::1]:9464, :9464 (all addresses) or
    /// unix:/run/aclarai-scheduler/http.sock [else $ACLARAI_LISTEN, scheduler.listen; default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) threads: Option<u8>,
    /// Make up a vault of this many files instead of reading --vault [default: 5000]
    #[arg(long, value_name = "N")]
    pub(super) files: Option<usize>,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    /// How long ago a block must have been archived, such as 30d or 12h
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub(super) older_than: std::time::Duration,
    /// Delete nothing; list what would be deleted
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Delete also blocks that other nodes have relationships with, and the relationships
    #[arg(long)]
    pub(super) detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct Dirty {
    /// Only blocks of this tier, 1 to 3; may be given again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3))]
    pub(super) tier: Vec<i64>,
    /// Only ids that begin with this; may be given again
    #[arg(long, value_name = "P")]
    pub(super) prefix: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Print JSON Lines: one object a line, as a program with a feed reads them
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Done {
    /// Blocks, each with @VERSION where it must still have that one; `-` reads ids or the lines of `dirty --json`
    #[arg(required = true, value_name = "ID[@VERSION]")]
    pub(super) ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The block
    pub(super) id: String,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Blocks {
    /// Markdown files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Also take ids with `-`, as `accept_hyphen_ids` does
    #[arg(long)]
    pub(super) accept_hyphen_ids: bool,
    #[command(flatten)]
    pub(super) format: Format,
}

/// States of runs, and reasons of skips.
const OUTCOMES: [&str; 12] = [
    "succeeded",
    "failed",
    "interrupted",
    "skipped",
    "running",
    "queued",
    "paused",
    "overlap",
    "misfire",
    "coalesced",
    "disabled",
    "leader",
];

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    At(chrono::DateTime<chrono::Utc>),
    Day(chrono::NaiveDate),
    Ago(std::time::Duration),
}

impl When {
    /// Its first instant, a day's being midnight of UTC.
    pub(super) fn first(self, now: chrono::DateTime<chrono::Utc>) -> chrono::DateTime<chrono::Utc> {
        match self {
            When::At(at) => at,
            When::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            When::Ago(ago) => {
                let ago = chrono::TimeDelta::from_std(ago).ok();
                ago.and_then(|ago| now.checked_sub_signed(ago)).unwrap_or_default()
            }
        }
    }

    /// Its last instant: a day ends a microsecond before the next.
    pub(super) fn last(self, now: chrono::DateTime<chrono::Utc>) -> chrono::DateTime<chrono::Utc> {
        match self {
            When::Day(_) => {
                self.first(now) + chrono::TimeDelta::days(1) - chrono::TimeDelta::microseconds(1)
            }
            _ => self.first(now),
        }
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(When::At(at.to_utc()));
    }
    for format in ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z"] {
        if let Ok(at) = chrono::DateTime::parse_from_str(text, format) {
            return Ok(When::At(at.to_utc()));
        }
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    if let Ok(day) = text.parse() {
        return Ok(When::Day(day));
    }
    for format in ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"] {
        if let Ok(at) = chrono::NaiveDateTime::parse_from_str(text, format) {
            return Ok(When::At(at.and_utc()));
        }
    }
    age(text).map(When::Ago).map_err(|_| {
        "write an instant such as 2026-08-24T03:00Z (without Z it is UTC too), a date, or 2h"
            .to_owned()
    })
}

/// Never a bare number: `30` would be 30 seconds to one and 30 days to another, and what is deleted is gone.
fn age(text: &str) -> Result<std::time::Duration, String> {
    crate::config::parse_duration(text)
        .map_err(|_| "write a number with a unit, such as 30d or 12h".to_owned())
}

fn instant(text: &str) -> Result<chrono::DateTime<chrono::Utc>, String> {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(at) => Ok(at.to_utc()),
        Err(error) => Err(format!("{error}: write it as 2026-08-24T12:00:00Z")),
    }
}

/// `0.1.0 (commit 1a2b3c4d5; features: neo4j, http; zone data 2026a)`. `build.rs` finds the commit; not every build has one.
pub(super) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let built_in = [("neo4j", cfg!(feature = "neo4j")), ("http", cfg!(feature = "http"))];
        let built_in = built_in.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name);
        let features = match built_in.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none".to_owned(),
            features => features,
        };
        let mut details = vec![
            format!("features: {features}"),
            format!("zone data {}", crate::schedule::Zone::data_version()),
        ];
        details.splice(..0, option_env!("ACLARAI_COMMIT").map(|commit| format!("commit {commit}")));
        format!("{} ({})", env!("CARGO_PKG_VERSION"), details.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_fits_a_screen_and_shows_every_command() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        for option in Arguments::command().get_arguments() {
            let name = format!("--{}", option.get_long().expect("global options have long names"));
            assert!(help.contains(&name), "{name} is not in the help");
        }
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            assert!(help.contains(&format!("  {name} ")), "{name} has no example in the help");
            let own = command.get_after_help().unwrap().to_string();
            assert!(own.starts_with("Example"), "{name} has no example in its own help");
            assert!(own.contains(&format!("aclarai-scheduler {name}")), "{own}");
        }
    }

    /// `docs/aclarai-scheduler.1` is made of the definition above: `ACLARAI_WRITE_MAN=1 cargo test man_page` makes it
    /// anew.
    #[test]
    fn the_man_page_is_that_of_this_definition() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/aclarai-scheduler.1");
        let page = man_page();
        if std::env::var_os("ACLARAI_WRITE_MAN").is_some() {
            std::fs::write(file, &page).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap();
        assert!(committed == page, "{file} is old: ACLARAI_WRITE_MAN=1 cargo test man_page");
    }

    /// One page for all commands, as long as nobody needs more than one screen of each.
    fn man_page() -> String {
        let mut command = Arguments::command().version(env!("CARGO_PKG_VERSION"));
        command.build();
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command.clone()).manual("aclarai");
        man.render_title(&mut page).unwrap();
        man.render_name_section(&mut page).unwrap();
        man.render_synopsis_section(&mut page).unwrap();
        man.render_options_section(&mut page).unwrap();
        page.extend_from_slice(b".SH COMMANDS\n");
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let man = clap_mangen::Man::new(command.clone().mut_args(|argument| {
                let is_global = argument.is_global_set();
                argument.hide(is_global)
            }));
            let mut part = Vec::new();
            man.render_description_section(&mut part).unwrap();
            man.render_synopsis_section(&mut part).unwrap();
            man.render_options_section(&mut part).unwrap();
            man.render_extra_section(&mut part).unwrap();
            let part = String::from_utf8(part).unwrap();
            page.extend_from_slice(format!(".SS {}\n", command.get_name()).as_bytes());
            for line in
                part.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"))
            {
                let line = if line.starts_with(".SH") { ".PP" } else { line };
                page.extend_from_slice(format!("{line}\n").as_bytes());
            }
        }
        page.extend_from_slice(include_bytes!("../../docs/man-tail.1"));
        String::from_utf8(page).unwrap()
    }

    /// An hour that a clock shows twice is told apart by its offset.
    #[test]
    fn a_moment_may_be_written_with_its_offset() {
        let at = |text: &str| match when(text) {
            Ok(When::At(at)) => at.to_rfc3339(),
            other => panic!("{text}: {other:?}"),
        };
        for (text, utc) in [
            ("2026-10-25T02:30+02:00", "2026-10-25T00:30:00+00:00"),
            ("2026-10-25 02:30+01:00", "2026-10-25T01:30:00+00:00"),
            ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00+00:00"),
            ("2026-10-25T02:30Z", "2026-10-25T02:30:00+00:00"),
            ("2026-10-25 02:30", "2026-10-25T02:30:00+00:00"),
        ] {
            assert_eq!(at(text), utc, "{text}");
        }
        assert!(when("2026-10-25T02:30+99:00").is_err());
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_go_before_and_after_the_command() {
        for line in
            ["x --vault v jobs --json", "x jobs --json --vault v", "x jobs --vault v --json"]
        {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.global.vault, Some(PathBuf::from("v")), "{line}");
        }
    }
}
