//! Cron lines as people bring them along from elsewhere: what is wrong with one, and what one means that is hardly meant.

use crate::schedule::{Schedule, Zone};

/// The schedule of these lines. An `Err` says what to write.
pub(super) fn parsed<L: AsRef<str>>(lines: &[L], zone: &Zone) -> Result<Schedule, String> {
    if let Some(hint) = lines.iter().find_map(|line| brought_along(line.as_ref())) {
        return Err(hint.to_owned());
    }
    Schedule::parse_lines(lines, zone.clone()).map_err(|error| error.to_string())
}

/// The remedy for a part that no cron line here can hold.
fn brought_along(line: &str) -> Option<&'static str> {
    let line = line.trim();
    if line.starts_with("CRON_TZ=") || line.starts_with("TZ=") {
        Some(
            "the zone has a setting of its own: write timezone: Europe/Berlin in the job, and the line without it",
        )
    } else if line.contains("${") {
        Some("${...} is not filled in in this file: write the line, or set the variable NAME_CRON")
    } else if is_quoted(line) {
        Some("the quotes are part of the value, as Docker's --env-file keeps them: take them out")
    } else {
        None
    }
}

/// Whether a value still has quotes around it.
pub(super) fn is_quoted(value: &str) -> bool {
    ['"', '\'']
        .iter()
        .any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote))
}

/// A step that is longer than its field, which leaves the first value only: `*/90` is once an hour and not each 90
/// minutes.
pub(super) fn too_long_a_step(line: &str) -> Option<String> {
    const FIELDS: [(&str, u64, &str); 5] = [
        ("minute", 60, "once an hour"),
        ("hour", 24, "once a day"),
        ("day of month", 31, "once a month"),
        ("month", 12, "once a year"),
        ("day of week", 7, "once a week"),
    ];
    line.split_whitespace().zip(FIELDS).find_map(|(field, (name, length, often))| {
        let (_, step) = field.rsplit_once('/')?;
        let is_too_long = step.parse::<u64>().is_ok_and(|step| step >= length);
        is_too_long.then(|| {
            format!("the step of the {name} is as long as the field, so that it comes {often}: for a length of time write @every")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_elsewhere_is_told_where_its_parts_belong() {
        let refused = |line: &str| parsed(&[line], &Zone::UTC).unwrap_err();
        assert!(
            refused("CRON_TZ=Europe/Berlin 0 2 * * *")
                .contains("write timezone: Europe/Berlin in the job")
        );
        assert!(refused("TZ=UTC 0 2 * * *").contains("a setting of its own"));
        assert!(refused("${CRON}").contains("is not filled in"));
        assert!(refused("\"0 2 * * *\"").contains("the quotes are part of the value"));
        assert!(parsed(&["0 2 * * *"], &Zone::UTC).is_ok());
    }

    #[test]
    fn a_step_that_is_longer_than_its_field_is_noticed() {
        for line in ["*/90 * * * *", "0 */36 * * *", "0 0 */31 * *", "0 0 1-31/40 * *"] {
            assert!(too_long_a_step(line).is_some(), "{line}");
        }
        for line in ["*/59 * * * *", "0 */12 * * *", "@every 90m", "5 4 * * *"] {
            assert_eq!(too_long_a_step(line), None, "{line}");
        }
    }
}
