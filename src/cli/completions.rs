//! `completions SHELL`: completion of commands, options, job names and other words, made from the definition of the
//! command line. One small script a shell, so that each can be driven in a real shell by a test.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory, ValueHint};

use super::arguments::{Arguments, Shell};
use super::exit::{Exit, Failure};
use super::out::{Out, written};

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let words = Words::of(&Arguments::command());
    let script = match shell {
        Shell::Bash => words.bash(),
        Shell::Zsh => words.zsh(),
        Shell::Fish => words.fish(),
    };
    let mut out = Out::stdout();
    written(out.own(&script).and_then(|()| out.flush()), Exit::Done)
}

/// The name of the program, and of the functions of the scripts.
const PROGRAM: &str = "aclarai-scheduler";

/// The options by which another configuration, or another state folder, is meant: what stands of them on the line goes along
/// where the names of jobs are asked for.
const PLACES: [&str; 2] = ["--config", "--state-dir"];

/// Takes the names out of the table of `jobs`.
const NAMES: &str = "awk 'NR > 1 { print $1 }'";

/// The function of bash. It cuts a line at `=` too, so that `--config=FILE` is three words, and the name of a job at `:`. A word
/// is read as the line will be, but a word that could run something is left as it is typed; nor does `compgen` see the names of
/// jobs, which it would expand. A name goes in as the quotes around it, if any, want it. Files are left to the shell itself,
/// which knows what to do about spaces and `~`.
const BASH: &str = r#"_aclarai_scheduler_read() {
    local word=$1
    case $word in
        *[\`\(\;\&\|\<\>\@\[]*) ;;
        *) eval "word=$word" 2>/dev/null ;;
    esac
    printf '%s' "$word"
}
_aclarai_scheduler_jobs() {
    local open= line=${COMP_LINE:0:COMP_POINT} typed head
    typed=${line##*[[:space:]]}
    head=${typed%"${typed##*[:=@]}"}
    case $typed in
        [\'\"]*) open=${typed:0:1} typed=${typed:1} head= ;;
        *) typed=$(_aclarai_scheduler_read "$typed") ;;
    esac
    while IFS= read -r word; do
        [[ $word == "$typed"* ]] || continue
        case $open in
            \') word=${word//\'/\'\\\'\'} ;;
            \") word=$(sed 's/[\"$`\\]/\\&/g' <<<"$word") ;;
            *) word=$(printf '%q' "$word") ;;
        esac
        COMPREPLY+=("${word#"$head"}")
    done < <("$program" "${given[@]}" jobs 2>/dev/null | {jobs})
}
_aclarai_scheduler() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= word i
    local program=aclarai-scheduler
    local -a given=()
    COMPREPLY=()
    case $before$cur in
        =*) before=${COMP_WORDS[COMP_CWORD-2]} ;;
        *=) cur= ;;
    esac
    case ${COMP_WORDS[0]} in
        */*) program=$(_aclarai_scheduler_read "${COMP_WORDS[0]}") ;;
    esac
    for ((i = 1; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        [ $i = $COMP_CWORD ] && continue
        case $word in
            {names}) [ -z "$command" ] && [ $i -lt $COMP_CWORD ] && command=$word ;;
            {with_value})
                [ "${COMP_WORDS[i+1]}" = = ] && ((i++))
                ((i++))
                case $word in
                    {places}) [ $i != $COMP_CWORD ] && given+=("$word" "$(_aclarai_scheduler_read "${COMP_WORDS[i]}")") ;;
                esac ;;
        esac
    done
{cases}}
complete -F _aclarai_scheduler aclarai-scheduler
"#;

/// The function of zsh.
const ZSH: &str = r#"#compdef aclarai-scheduler
_aclarai-scheduler_read() {
    local word=${(Q)1}
    [[ $word == \~(|/*) ]] && word=$HOME${word#\~}
    [[ $word == *[\`\(]* ]] || word=${(e)word}
    print -r -- $word
}
_aclarai-scheduler() {
    local cur=${words[CURRENT]} before=${words[CURRENT-1]} command= word program=aclarai-scheduler
    local -i i
    local -a given
    if [[ $cur == --*=* ]]; then
        before=${cur%%=*}
        compset -P 1 '*='
        cur=${cur#*=}
    fi
    [[ ${words[1]} == */* ]] && program=$(_aclarai-scheduler_read ${words[1]})
    for ((i = 2; i <= $#words; i++)); do
        word=${words[i]}
        (( i == CURRENT )) && continue
        case $word in
            {names}) [[ -z $command ]] && (( i < CURRENT )) && command=$word ;;
            {with_value})
                (( i++ ))
                case $word in
                    {places}) (( i != CURRENT )) && given+=($word "$(_aclarai-scheduler_read ${words[i]})") ;;
                esac ;;
            {places_with_value}) given+=("${word%%=*}" "$(_aclarai-scheduler_read ${word#*=})") ;;
        esac
    done
{cases}}
if [[ $funcstack[1] == _aclarai-scheduler ]]; then
    _aclarai-scheduler "$@"
else
    compdef _aclarai-scheduler aclarai-scheduler
fi
"#;

/// The functions of fish.
const FISH: &str = r#"function __aclarai_scheduler_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case {with_value}
                set skip 1
            case {names}
                echo $word
                return
        end
    end
end
function __aclarai_scheduler_in
    test "$(__aclarai_scheduler_command)" = "$argv[1]"
end
function __aclarai_scheduler_read
    set -l word (string replace -r '^~(?=/|$)' -- $HOME $argv[1])
    string replace -r '^\$HOME(?=/|$)' -- $HOME $word
end
function __aclarai_scheduler_jobs
    set -l words (commandline -op)
    set -l program aclarai-scheduler
    string match -q '*/*' -- $words[1]; and set program (__aclarai_scheduler_read $words[1])
    set -l given
    set -l option
    for word in $words[2..-1]
        if test -n "$option"
            set -a given $option (__aclarai_scheduler_read $word)
            set option
            continue
        end
        switch $word
            case {places}
                set option $word
            case {places_with_value}
                set -l parts (string split -m 1 = -- $word)
                set -a given $parts[1] (__aclarai_scheduler_read $parts[2])
        end
    end
    $program $given jobs 2>/dev/null | {jobs}
end
complete -c aclarai-scheduler -f
"#;

/// The offers of a shell in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Offer {
    Words(Vec<String>),
    Files,
    Folders,
    Jobs,
    /// A number, an instant or a line of cron: nothing to choose from.
    Nothing,
}

impl Offer {
    fn of(argument: &Arg) -> Offer {
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        match (argument.get_id().as_str(), argument.get_value_hint()) {
            _ if !values.is_empty() => Offer::Words(values),
            ("job", _) => Offer::Jobs,
            ("log_level", _) => Offer::Words(words("DEBUG INFO WARNING ERROR")),
            ("outcome", _) => Offer::Words(words("succeeded failed interrupted skipped")),
            ("vault" | "state_dir" | "dir", _) | (_, ValueHint::DirPath) => Offer::Folders,
            ("config" | "metrics_file" | "files", _) => Offer::Files,
            _ => Offer::Nothing,
        }
    }
}

fn words(list: &str) -> Vec<String> {
    list.split(' ').map(str::to_owned).collect()
}

/// An option as it is typed.
struct Choice {
    names: Vec<String>,
    help: String,
    /// The value that follows it, if any.
    value: Option<Offer>,
}

/// One command.
struct Verb {
    name: String,
    help: String,
    choices: Vec<Choice>,
    argument: Option<Offer>,
}

/// Every word that can be completed.
struct Words {
    verbs: Vec<Verb>,
    global: Vec<Choice>,
}

impl Words {
    fn of(command: &Command) -> Words {
        let verbs = command.get_subcommands().map(|verb| Verb {
            name: verb.get_name().to_owned(),
            help: first_line(verb.get_about().map(ToString::to_string)),
            choices: choices(verb),
            argument: verb.get_positionals().next().map(Offer::of),
        });
        Words { verbs: verbs.collect(), global: choices(command) }
    }

    fn names(&self) -> String {
        self.verbs.iter().map(|verb| verb.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Every option that takes a value, with what it offers, each once.
    fn with_value(&self) -> Vec<(String, &Offer)> {
        let all = self.verbs.iter().flat_map(|verb| &verb.choices).chain(&self.global);
        let mut found: Vec<(String, &Offer)> = Vec::new();
        for choice in all {
            for (name, offer) in choice.names.iter().zip(std::iter::repeat(&choice.value)) {
                if let Some(offer) =
                    offer.as_ref().filter(|_| !found.iter().any(|(f, _)| f == name))
                {
                    found.push((name.clone(), offer));
                }
            }
        }
        found
    }

    fn options_of(&self, verb: Option<&Verb>) -> String {
        let own = verb.into_iter().flat_map(|verb| &verb.choices);
        let names = own.chain(&self.global).flat_map(|choice| &choice.names);
        names.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The offers of bash and zsh, case by case: after an option, and for a word that stands alone. `offer` says it in the
    /// shell's own words.
    fn cases(&self, offer: impl Fn(&Offer) -> String) -> String {
        let mut text = String::new();
        let mut line = |line: String| writeln!(text, "{line}").expect("a String takes every line");
        line("    case $before in".to_owned());
        for (name, of) in self.with_value() {
            line(format!("        {name}) {}; return ;;", offer(of)));
        }
        line("    esac".to_owned());
        line("    case \"$command $cur\" in".to_owned());
        for verb in &self.verbs {
            let options = Offer::Words(words(&self.options_of(Some(verb))));
            line(format!("        \"{} -\"*) {} ;;", verb.name, offer(&options)));
            if let Some(argument) = &verb.argument {
                line(format!("        \"{} \"*) {} ;;", verb.name, offer(argument)));
            }
        }
        line(format!(
            "        \" -\"*) {} ;;",
            offer(&Offer::Words(words(&self.options_of(None))))
        ));
        line(format!("        \" \"*) {} ;;", offer(&Offer::Words(words(&self.names())))));
        line("    esac".to_owned());
        text
    }

    /// A script with its blanks filled in, lists with this between their words.
    fn filled(&self, script: &str, between: &str, cases: &str) -> String {
        let with_value: Vec<String> = self.with_value().into_iter().map(|(name, _)| name).collect();
        // fish would take a bare star for a pattern of files.
        let anything = if between == " " { "\\*" } else { "*" };
        let places_with_value = PLACES.map(|place| format!("{place}={anything}"));
        script
            .replace("{names}", &self.names().replace(' ', between))
            .replace("{with_value}", &with_value.join(between))
            .replace("{places}", &PLACES.join(between))
            .replace("{places_with_value}", &places_with_value.join(between))
            .replace("{jobs}", NAMES)
            .replace("{cases}", cases)
    }

    fn bash(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => {
                format!("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", words.join(" "))
            }
            Offer::Files => "compopt -o default".to_owned(),
            Offer::Folders => "compopt -o dirnames".to_owned(),
            Offer::Jobs => "_aclarai_scheduler_jobs".to_owned(),
            Offer::Nothing => "COMPREPLY=()".to_owned(),
        };
        self.filled(BASH, "|", &self.cases(offer))
    }

    fn zsh(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => format!("compadd -- {}", words.join(" ")),
            Offer::Files => "_files".to_owned(),
            Offer::Folders => "_files -/".to_owned(),
            Offer::Jobs => {
                format!("compadd -- ${{(f)\"$($program $given jobs 2>/dev/null | {NAMES})\"}}")
            }
            Offer::Nothing => ":".to_owned(),
        };
        self.filled(ZSH, "|", &self.cases(offer))
    }

    fn fish(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => format!("-x -a '{}'", words.join(" ")),
            Offer::Files => "-r -F".to_owned(),
            Offer::Folders => "-x -a '(__fish_complete_directories)'".to_owned(),
            Offer::Jobs => "-x -a '(__aclarai_scheduler_jobs)'".to_owned(),
            Offer::Nothing => "-x".to_owned(),
        };
        let mut text = self.filled(FISH, " ", "");
        let mut add = |condition: &str, choice: &Choice| {
            let names: Vec<String> = choice
                .names
                .iter()
                .map(|name| match name.strip_prefix("--") {
                    Some(long) => format!("-l {long}"),
                    None => format!("-s {}", name.trim_start_matches('-')),
                })
                .collect();
            let value = choice.value.as_ref().map(offer).unwrap_or_default();
            writeln!(
                text,
                "complete -c {PROGRAM} {condition}{} -d '{}' {value}",
                names.join(" "),
                quoted(&choice.help)
            )
            .expect("a String takes every line");
        };
        for choice in &self.global {
            add("", choice);
        }
        for verb in &self.verbs {
            for choice in &verb.choices {
                add(&format!("-n '__aclarai_scheduler_in {}' ", verb.name), choice);
            }
        }
        for verb in &self.verbs {
            let (name, help) = (&verb.name, quoted(&verb.help));
            let mut line =
                |line: String| writeln!(text, "{line}").expect("a String takes every line");
            line(format!(
                "complete -c {PROGRAM} -n '__aclarai_scheduler_in \"\"' -a {name} -d '{help}'"
            ));
            if let Some(argument) = &verb.argument {
                let offered = offer(argument).replace("-x ", "-f ").replace("-r ", "");
                line(format!("complete -c {PROGRAM} -n '__aclarai_scheduler_in {name}' {offered}"));
            }
        }
        text
    }
}

/// The options that a command has beside the global ones, and those of all commands for the program itself.
fn choices(command: &Command) -> Vec<Choice> {
    let mut found: Vec<Choice> =
        command
            .get_opts()
            .chain(command.get_arguments().filter(|argument| {
                !argument.is_positional() && !argument.get_action().takes_values()
            }))
            .map(|argument| Choice {
                names: argument
                    .get_long()
                    .map(|long| format!("--{long}"))
                    .into_iter()
                    .chain(argument.get_short().map(|short| format!("-{short}")))
                    .collect(),
                help: first_line(argument.get_help().map(ToString::to_string)),
                value: argument.get_action().takes_values().then(|| Offer::of(argument)),
            })
            .collect();
    found.retain(|choice| !choice.names.is_empty());
    found
}

fn first_line(help: Option<String>) -> String {
    help.and_then(|help| help.lines().next().map(str::to_owned)).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
