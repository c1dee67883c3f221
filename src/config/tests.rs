//! The room as its users see it: text and environment in, a configuration or all its faults out.

use super::*;

const NAME: &str = "c.yaml";

/// An environment with a home and nothing else, in a folder that is not there.
fn env(variables: &[(&str, &str)]) -> Env {
    let home = [("HOME", "/home/me")];
    Env::new("/nowhere", home.iter().chain(variables).copied())
}

fn read(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    from_text(yaml, NAME, &Overrides::default(), &env(variables))
}

#[track_caller]
fn good(yaml: &str, variables: &[(&str, &str)]) -> Config {
    read(yaml, variables).unwrap_or_else(|faults| panic!("{yaml}\n{faults}"))
}

/// All of a configuration that does not depend on where it came from.
fn settled(config: &Config) -> String {
    let config = Config {
        source: None,
        lines: Lines::default(),
        notes: Vec::new(),
        warnings: Vec::new(),
        ..config.clone()
    };
    format!("{config:#?}")
}

#[test]
fn the_shipped_file_says_what_holds_without_it() {
    let shipped = good(SHIPPED_FILE, &[]);
    assert_eq!(settled(&shipped), settled(&good("", &[])));
    assert_eq!(shipped.warnings, [""; 0]);
}
