//! The page: HTML, made of what there is to see. Shows and changes nothing.
//!
//! All text from outside (names, paths, ids, output) is said by [`words`], which makes it visible and lets the
//! template library escape it. Drawings are made of numbers alone.

mod attention;
mod draw;
mod front;
mod headline;
mod job;
mod run;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::headline::Headline;
use self::words::{Said, time_of_day};
use super::asked::{Asked, percent_decoded};
use super::known::Now;
use crate::state::StateError;

/// The one style sheet.
pub(super) const STYLE: &str = include_str!("status_page/style.css");

/// The one script, which nothing depends on.
pub(super) const SCRIPT: &str = include_str!("status_page/page.js");

/// `docs/troubleshooting.md`, made HTML by `build.rs`.
const TROUBLESHOOTING: &str = include_str!(concat!(env!("OUT_DIR"), "/troubleshooting.html"));

/// The status of the answer, and the page.
pub(super) fn page(now: &Now, asked: &Asked) -> Result<(u16, String), StateError> {
    let below = |folder: &str| asked.path.strip_prefix(folder).and_then(percent_decoded);
    let (title, found) = match (asked.path.as_str(), below("/jobs/"), below("/runs/")) {
        ("/", ..) => (String::new(), Some(front::page(now, asked)?)),
        ("/attention", ..) => ("Attention".to_owned(), Some(attention::page(now)?)),
        ("/docs/troubleshooting", ..) => {
            let text = html! { article class="text" { (PreEscaped(TROUBLESHOOTING)) } };
            ("Troubleshooting".to_owned(), Some(text))
        }
        (_, Some(name), _) => (name.clone(), job::page(now, asked, &name)?),
        (_, None, Some(id)) => (id.clone(), run::page(now, &id)?),
        (_, None, None) => (String::new(), None),
    };
    Ok(match found {
        Some(page) => (200, shell(&title, Some(now), &page)),
        None => (404, shell("", Some(now), &nothing_here())),
    })
}

/// A page that says why there is none.
pub(super) fn failed(error: &str) -> String {
    let headline = Headline::of_fault(error);
    shell("", None, &headline.show())
}

fn nothing_here() -> Markup {
    html! {
        header { h1 { "There is nothing at this address." } }
        p { "The jobs, the vault and the history are on " a href="/" { "the first page" } "." }
    }
}

/// The parts that all pages share.
fn shell(title: &str, now: Option<&Now>, page: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title {
                    @if !title.is_empty() { (Said(title, 80)) " - " }
                    "aclarai scheduler"
                }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href=(ICON);
                script src="/page.js" defer {}
            }
            body {
                main { (page) }
                footer {
                    nav aria-label="Pages" {
                        a href="/" { "Jobs" } " "
                        a href="/attention" { "Attention" } " "
                        a href="/docs/troubleshooting" { "Troubleshooting" } " "
                        a href="/metrics" { "Metrics" }
                    }
                    p {
                        "aclarai scheduler " (env!("CARGO_PKG_VERSION"))
                        @if let Some(now) = now { ", as of " (time_of_day(now.moment.wall)) }
                    }
                }
            }
        }
    };
    page.into_string()
}

const ICON: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2016%2016'%3E%3Cpath%20\
                    d='M2%2014V9h2v5zm4%200V5h2v9zm4%200V2h2v12zm4%200V7h1v7z'%20fill='%23368'/%3E%3C/svg%3E";
