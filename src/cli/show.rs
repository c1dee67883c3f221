//! `show ID`: everything the graph knows of a block, and what this program did to it where that is known. Only looks.

use serde_json::{Map, Value, json};

use super::arguments::Show;
use super::dirty::{look, of_graph, stop_by_signal};
use super::exit::{Exit, Failure};
use super::out::{Cell, Out, written};
use super::run::shown;
use super::setup::Setup;
use crate::block::BlockId;
use crate::reconcile;

pub(super) fn show(setup: &Setup<'_>, arguments: &Show) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let store = look(&config, &stop_by_signal()?)?;
    let id = BlockId::new(arguments.id.as_str());
    let Some(properties) = store.properties(&id).map_err(of_graph)? else {
        return Err(Failure::usage(format!("no block has the id {id}")));
    };
    let mut history = of_graph_itself(&properties);
    history.extend(of_state(&config.state_dir, &arguments.id)?);
    let mut out = Out::stdout();
    let result = if arguments.format.json {
        let mut all = properties;
        all.insert("history".to_owned(), Value::Array(history));
        out.json(&all)
    } else {
        write(&mut out, &properties, &history)
    };
    written(result.and_then(|()| out.flush()), Exit::Done)
}

/// The past, as far as the properties tell of it.
fn of_graph_itself(properties: &Map<String, Value>) -> Vec<Value> {
    let at = |name: &str| properties.get(name).and_then(Value::as_str);
    let event = |name, what: &str| Some(json!({ "at": at(name)?, "what": what }));
    let mut history: Vec<Value> =
        event("last_updated", "its text was last written").into_iter().collect();
    history.extend(event("archived_at", "archived, as it was gone from the vault"));
    history
}

/// The notes of the last sync about it, for a person.
fn of_state(state_dir: &std::path::Path, id: &str) -> Result<Vec<Value>, Failure> {
    let is_about = |text: &str| {
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | ';' | '"' | '(' | ')'))
            .any(|word| word == id)
    };
    let noted = reconcile::attention(state_dir)?.into_iter();
    let noted = noted.filter(|noted| is_about(&noted.place) || is_about(&noted.message));
    Ok(noted
        .map(|noted| {
            let what = format!("{}: {}", noted.kind, noted.message);
            json!({ "at": null, "what": what, "place": noted.place })
        })
        .collect())
}

fn write(out: &mut Out, properties: &Map<String, Value>, history: &[Value]) -> std::io::Result<()> {
    let row =
        |(name, value): (&String, &Value)| vec![name.as_str().into(), Cell::from(shown(value))];
    out.table(&properties.iter().map(row).collect::<Vec<_>>())?;
    for event in history {
        let what = event["what"].as_str().unwrap_or_default();
        match event["at"].as_str() {
            Some(at) => writeln!(out, "{at}: {what}")?,
            None => writeln!(out, "noted by the last sync: {what}")?,
        }
    }
    Ok(())
}
