//! All that waits for a person, each with its remedy and the place in the troubleshooting page that tells more.

use maud::{Markup, html};

use super::super::known::Now;
use super::headline::{Headline, Level};
use super::words::{Said, counted, number, said, time};
use crate::reconcile::{self, Waiting};
use crate::state::StateError;

/// The messages that the troubleshooting page has a place for, and the places; `…` stands for what differs.
const PLACES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/troubleshooting.rs"));

/// The kinds of thing that wait for a person, in the order of urgency, with the words for it.
const KINDS: [(&str, &str); 5] = [
    ("conflict", "Conflicts"),
    ("suspicious", "Suspicious markers"),
    ("missing", "Missing blocks"),
    ("duplicate", "Duplicates"),
    ("note", "Notes with errors"),
];

/// More rows than that nobody reads; the command has all.
const ROWS_MAX: usize = 500;

pub(super) fn page(now: &Now) -> Result<Markup, StateError> {
    let waiting = reconcile::attention(&now.known.state_dir)?;
    let count = waiting.len() + usize::from(now.refused.is_some());
    let headline = match count {
        0 => Headline::plain(Level::Well, "Nothing waits for a person.".to_owned()),
        1 => Headline::plain(Level::Look, "1 thing waits for a person.".to_owned()),
        count => {
            Headline::plain(Level::Look, format!("{} wait for a person.", counted(count, "thing")))
        }
    };
    Ok(html! {
        (headline.show())
        @if let Some((at, error)) = &now.refused {
            section aria-labelledby="configuration" {
                h2 id="configuration" { "Configuration" }
                p { "Refused at the reload " (time(*at, now.moment.wall)) ": " bdi { (Said(error, 2_000)) } }
                p { "Correct it, and reload; a running daemon keeps the old configuration until then." }
            }
        }
        @for (kind, title) in KINDS {
            @let of_kind: Vec<&Waiting> = waiting.iter().filter(|waiting| waiting.kind == kind).collect();
            @if !of_kind.is_empty() { (section(kind, title, &of_kind)) }
        }
    })
}

fn section(kind: &str, title: &str, waiting: &[&Waiting]) -> Markup {
    html! {
        section aria-labelledby=(kind) {
            h2 id=(kind) { (title) " (" (number(waiting.len() as u64)) ")" }
            table class="waiting" {
                thead { tr { th scope="col" { "Where" } th scope="col" { "What" } th scope="col" { "What to do" } } }
                tbody {
                    @for Waiting { place, message, remedy, .. } in waiting.iter().take(ROWS_MAX) {
                        tr {
                            td data-label="Where" { (said(place)) }
                            td data-label="What" { bdi { (Said(message, 600)) } }
                            td data-label="What to do" {
                                bdi { (Said(remedy, 600)) }
                                @if let Some(at) = place_of(message, remedy) {
                                    " " a href={ "/docs/troubleshooting#" (at) } { "More" }
                                }
                            }
                        }
                    }
                }
            }
            @if waiting.len() > ROWS_MAX {
                p { (counted(waiting.len() - ROWS_MAX, "more row")) ": " code { "aclarai-scheduler attention" } " lists all." }
            }
        }
    }
}

/// Where the troubleshooting page tells of a message: at the heading whose fixed words are in it, the longest counting.
fn place_of(message: &str, remedy: &str) -> Option<&'static str> {
    let said = format!("{message}: {remedy}");
    let fits = |heading: &str| {
        let mut rest = said.as_str();
        heading
            .split('…')
            .map(|part| part.trim_matches([' ', ':', ';']))
            .filter(|part| part.len() > 3)
            .all(|part| {
                let found = rest.find(part);
                rest = found.map_or("", |at| &rest[at + part.len()..]);
                found.is_some()
            })
    };
    let fixed = |heading: &str| heading.chars().filter(|c| *c != '…').count();
    let fitting = PLACES.iter().filter(|(heading, _)| fits(heading));
    fitting.max_by_key(|(heading, _)| fixed(heading)).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_leads_to_its_place_in_the_troubleshooting_page() {
        assert_eq!(
            place_of("not UTF-8 at byte 812", "save it as UTF-8"),
            Some("not-utf-8-at-byte--save-it-as-utf-8")
        );
        assert_eq!(place_of("nothing of the kind", ""), None);
        assert!(PLACES.len() > 50);
    }
}
