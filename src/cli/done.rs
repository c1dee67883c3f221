//! `done`: takes marks away by hand, or at the end of a pipe.

use std::io::{self, BufRead};
use std::sync::Arc;

use serde_json::Value;

use super::arguments::Done;
use super::dirty::{of_graph, stop_by_signal};
use super::exit::{Exit, Failure};
use super::out::{Out, written};
use super::setup::Setup;
use crate::block::BlockId;
use crate::clock::SystemClock;
use crate::graph::{self, GraphStore, HandedOut, StoredBlock};

/// Blocks that are done in one transaction.
const BATCH: usize = 500;

/// The longest line that is read: a block with the longest text a graph keeps has room in it.
const LINE_MAX: u64 = 16 << 20;

/// A block, and what it was like when its work was done, as far as that was told.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    id: String,
    version: Option<i64>,
    /// v1 and v2 hash.
    hashes: Option<(Option<String>, Option<String>)>,
}

pub(super) fn done(setup: &Setup<'_>, arguments: &Done) -> Result<Exit, Failure> {
    let config = setup.config()?;
    let stop = stop_by_signal()?;
    let store = graph::open(&config.graph, config.retries, stop, Arc::new(SystemClock))
        .map_err(of_graph)?;
    let mut work = Work { store, out: Out::stdout(), told: Ok(()), done: 0, left: 0 };
    let mut broken = None;
    if arguments.ids == ["-"] {
        let mut input = io::stdin().lock();
        let mut batch = Vec::new();
        for number in 1u64.. {
            let wanted = read_line(&mut input)
                .and_then(|line| line.map(|line| wanted_of_line(&line)).transpose());
            match wanted {
                Ok(Some(wanted)) => batch.extend(wanted),
                Ok(None) => break,
                Err(why) => {
                    broken = Some(format!(
                        "standard input, line {number}: {why}: the lines before it are done"
                    ));
                    break;
                }
            }
            if batch.len() >= BATCH {
                work.take_away(std::mem::take(&mut batch))?;
            }
        }
        work.take_away(batch)?;
    } else {
        let wanted = |id: &String| Wanted { id: id.clone(), version: None, hashes: None };
        work.take_away(arguments.ids.iter().map(wanted).collect())?;
    }
    let ended = work.end();
    broken.map_or(ended, |why| Err(Failure::usage(why)))
}

struct Work {
    store: Box<dyn GraphStore>,
    out: Out,
    told: io::Result<()>,
    done: u64,
    left: u64,
}

impl Work {
    fn take_away(&mut self, wanted: Vec<Wanted>) -> Result<(), Failure> {
        // An id may hold an `@`, so the whole word is looked for first.
        let mut ids = Vec::new();
        for wanted in &wanted {
            ids.push(BlockId::new(wanted.id.as_str()));
            ids.extend(with_version(&wanted.id).map(|(id, _)| BlockId::new(id)));
        }
        let nodes = self.store.lookup(&ids).map_err(of_graph)?;
        let mut blocks = Vec::new();
        for mut wanted in wanted {
            let mut id = BlockId::new(wanted.id.as_str());
            if !nodes.contains_key(&id)
                && let Some((before, version)) = with_version(&wanted.id)
            {
                id = BlockId::new(before);
                wanted.version = Some(version);
            }
            match nodes.get(&id) {
                None => self.keep(&format!("{id}: there is no such block")),
                Some(node) if wanted.is(node) => blocks.push(HandedOut::now(id, node)),
                Some(node) => self.keep(&changed(&id, node.version)),
            }
        }
        let stale = self.store.clear_marks(&blocks, None).map_err(of_graph)?;
        self.done += (blocks.len() - stale.len()) as u64;
        for id in stale {
            self.keep(&format!("{id}: changed meanwhile: its mark stays"));
        }
        Ok(())
    }

    fn keep(&mut self, line: &str) {
        self.left += 1;
        if self.told.is_ok() {
            self.told = writeln!(self.out, "{line}");
        }
    }

    fn end(self) -> Result<Exit, Failure> {
        let Work { store, mut out, told, done, left } = self;
        store.flush().map_err(of_graph)?;
        let plural = |count| if count == 1 { "" } else { "s" };
        let told = told
            .and_then(|()| writeln!(out, "{done} block{} done", plural(done)))
            .and_then(|()| out.flush());
        written(told, Exit::Done)?;
        match left {
            0 => Ok(Exit::Done),
            _ => Err(Failure::new(
                Exit::Attention,
                format!("{left} block{} changed meanwhile or unknown: see above", plural(left)),
            )),
        }
    }
}

impl Wanted {
    /// Whether the block still is what was done.
    fn is(&self, node: &StoredBlock) -> bool {
        let same_hashes = self
            .hashes
            .as_ref()
            .is_none_or(|(hash, body_hash)| (hash, body_hash) == (&node.hash, &node.body_hash));
        self.version.is_none_or(|version| version == node.version) && same_hashes
    }
}

fn changed(id: &BlockId, version: i64) -> String {
    format!("{id}: changed meanwhile, it has version {version} now: its mark stays")
}

/// `blk_1@3`.
fn with_version(word: &str) -> Option<(&str, i64)> {
    let (id, version) = word.rsplit_once('@')?;
    Some((id, version.parse().ok()?)).filter(|(id, _)| !id.is_empty())
}

/// The blocks of a line: an id, a line of `dirty --json`, or one that a program with a `feed` writes.
fn wanted_of_line(line: &str) -> Result<Vec<Wanted>, String> {
    let line = line.trim();
    if !line.starts_with('{') {
        let words = line.split_whitespace();
        let wanted = |id: &str| Wanted { id: id.to_owned(), version: None, hashes: None };
        return Ok(words.map(wanted).collect());
    }
    let object: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |name: &str| object[name].as_str().map(str::to_owned);
    if let Some(id) = text("id") {
        let knows_hashes = object.get("hash").is_some() && object.get("body_hash").is_some();
        return Ok(vec![Wanted {
            id,
            version: object["version"].as_i64(),
            hashes: knows_hashes.then(|| (text("hash"), text("body_hash"))),
        }]);
    }
    let ids = match &object["done"] {
        Value::String(id) => Some(vec![id.clone()]),
        Value::Array(ids) => ids.iter().map(|id| Some(id.as_str()?.to_owned())).collect(),
        _ => None,
    };
    let wanted = |id| Wanted { id, version: None, hashes: None };
    match ids {
        Some(ids) => Ok(ids.into_iter().map(wanted).collect()),
        // Of those that failed nothing is done.
        None if object.get("failed").is_some() => Ok(Vec::new()),
        None => Err("neither an id nor a line of `dirty --json`".to_owned()),
    }
}

fn read_line(input: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    let mut bounded = io::Read::take(input, LINE_MAX);
    bounded.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    if line.len() as u64 == LINE_MAX {
        return Err(format!("longer than {LINE_MAX} bytes"));
    }
    if line.is_empty() {
        return Ok(None);
    }
    String::from_utf8(line).map(Some).map_err(|_| "not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: &str, version: Option<i64>) -> Wanted {
        Wanted { id: id.to_owned(), version, hashes: None }
    }

    #[test]
    fn a_line_names_blocks_in_each_form() {
        let read = |line: &str| wanted_of_line(line).unwrap();
        assert_eq!(read(" blk_1\r\n"), [wanted("blk_1", None)]);
        assert_eq!(read("blk_1@3 clm_2"), [wanted("blk_1@3", None), wanted("clm_2", None)]);
        assert_eq!(read("\n"), []);
        assert_eq!(read(r#"{"id": "blk_1", "version": 3}"#), [wanted("blk_1", Some(3))]);
        let whole = read(r#"{"id": "blk_1", "version": 3, "hash": "a", "body_hash": null}"#);
        assert_eq!(whole[0].hashes, Some((Some("a".to_owned()), None)));
        assert_eq!(read(r#"{"done": ["a", "b"]}"#), [wanted("a", None), wanted("b", None)]);
        assert_eq!(read(r#"{"failed": "a", "error": "x"}"#), []);
        assert!(wanted_of_line(r#"{"done": 3}"#).is_err());
        assert!(wanted_of_line(r#"{"id": "blk"#).is_err());
    }

    #[test]
    fn a_version_is_the_digits_behind_the_last_at_sign() {
        assert_eq!(with_version("blk_1@3"), Some(("blk_1", 3)));
        assert_eq!(with_version("a@b@12"), Some(("a@b", 12)));
        for word in ["blk_1", "blk_1@", "@3", "blk_1@x"] {
            assert_eq!(with_version(word), None, "{word}");
        }
    }
}
