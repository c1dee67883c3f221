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

/// Prints the names of the jobs, in each of the shells.
const JOBS: &str = "aclarai-scheduler jobs 2>/dev/null | awk 'NR > 1 { print $1 }'";

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

    /// The common part of bash and zsh: which command was typed, what follows an option, and what stands alone.
    /// `offer` says it in the shell's own words; `word` and `before` are the word at hand and the one before it.
    fn cases(&self, word: &str, before: &str, offer: impl Fn(&Offer) -> String) -> String {
        let mut text = String::new();
        let mut line = |line: String| writeln!(text, "{line}").expect("a String takes every line");
        line(format!("    case {before} in"));
        for (name, of) in self.with_value() {
            line(format!("        {name}) {}; return ;;", offer(of)));
        }
        line("    esac".to_owned());
        line(format!("    case \"$command {word}\" in"));
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

    /// `serve|run|...) command=$word; break ;;`, and options whose value is no command.
    fn scan(&self) -> String {
        let names = self.names().replace(' ', "|");
        let with_value: Vec<String> = self.with_value().into_iter().map(|(name, _)| name).collect();
        format!(
            "            {names}) command=$word; break ;;\n            {}) ((i++)) ;;\n",
            with_value.join("|")
        )
    }

    fn bash(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => {
                format!("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", words.join(" "))
            }
            Offer::Files => {
                "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned()
            }
            Offer::Folders => {
                "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned()
            }
            Offer::Jobs => format!("COMPREPLY=($(compgen -W \"$({JOBS})\" -- \"$cur\"))"),
            Offer::Nothing => "COMPREPLY=()".to_owned(),
        };
        format!(
            "_aclarai_scheduler() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} command= word i\n    COMPREPLY=()\n    \
             for ((i = 1; i < COMP_CWORD; i++)); do\n        word=${{COMP_WORDS[i]}}\n        case $word in\n{}        \
             esac\n    done\n{}}}\ncomplete -F _aclarai_scheduler {PROGRAM}\n",
            self.scan(),
            self.cases("$cur", "${COMP_WORDS[COMP_CWORD-1]}", offer)
        )
    }

    fn zsh(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => format!("compadd -- {}", words.join(" ")),
            Offer::Files => "_files".to_owned(),
            Offer::Folders => "_files -/".to_owned(),
            Offer::Jobs => format!("compadd -- ${{(f)\"$({JOBS})\"}}"),
            Offer::Nothing => ":".to_owned(),
        };
        format!(
            "#compdef {PROGRAM}\n_{PROGRAM}() {{\n    local command= word\n    local -i i\n    for ((i = 2; i < \
             CURRENT; i++)); do\n        word=${{words[i]}}\n        case $word in\n{}        esac\n    done\n{}}}\n\
             if [[ $funcstack[1] == _{PROGRAM} ]]; then\n    _{PROGRAM} \"$@\"\nelse\n    compdef _{PROGRAM} {PROGRAM}\nfi\n",
            self.scan(),
            self.cases("${words[CURRENT]}", "${words[CURRENT-1]}", offer)
        )
    }

    fn fish(&self) -> String {
        let offer = |offer: &Offer| match offer {
            Offer::Words(words) => format!("-x -a '{}'", words.join(" ")),
            Offer::Files => "-r -F".to_owned(),
            Offer::Folders => "-x -a '(__fish_complete_directories)'".to_owned(),
            Offer::Jobs => format!("-x -a '({})'", JOBS.replace('\'', "\\'")),
            Offer::Nothing => "-x".to_owned(),
        };
        let mut text = format!(
            "function __aclarai_scheduler_command\n    set -l words (commandline -opc)\n    set -e words[1]\n    set -l \
             skip 0\n    for word in $words\n        if test $skip = 1\n            set skip 0\n            continue\n        \
             end\n        switch $word\n            case {}\n                set skip 1\n            case {}\n                \
             echo $word\n                return\n        end\n    end\nend\n\
             function __aclarai_scheduler_in\n    test \"$(__aclarai_scheduler_command)\" = \"$argv[1]\"\nend\n\
             complete -c {PROGRAM} -f\n",
            self.with_value().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "),
            self.names()
        );
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
