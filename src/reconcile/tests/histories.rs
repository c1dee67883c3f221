//! Random histories: users, sync programs, other services and accidents work on one vault and one graph, and after
//! every sync that was left in peace the graph is what the rules say, block by block.
//!
//! A history is a list of steps made from a seed. One that fails is shrunk, and told with its seed:
//! `ACLARAI_HISTORY_SEED=42 cargo test --lib histories` plays that one again, `ACLARAI_HISTORIES=100000` plays more;
//! together they begin at that seed.
//!
//! They are played on a graph in memory, and the first of them also on a real server when `ACLARAI_TEST_NEO4J_URI` names
//! one; `ACLARAI_NEO4J_HISTORIES=1000` plays more there.

mod graphs;
mod meddling;
mod oracle;
mod scene;
mod steps;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::graphs::{Graph, in_memory};
use self::meddling::Meddling;
use self::scene::Scene;
use self::steps::{Killed, Random, Service, Step, Trouble, What};
use self::world::IDS;
use crate::block::BlockId;
use crate::graph::Node;

/// How many histories one run of the tests goes through where nothing else is asked for: about a minute on two
/// processors. The gate in `.ci/run` asks for 20,000.
const HISTORIES: u64 = 2_000;

/// The same on a real server, where each takes a tenth of a second. The gate asks for 1,000.
#[cfg(feature = "neo4j")]
const HISTORIES_ON_SERVER: u64 = 100;

/// Two scans must both miss a block, this far apart, before it is archived.
const ARCHIVE_AFTER: Duration = Duration::from_secs(600);

type Nodes = BTreeMap<BlockId, Node>;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an empty graph that the meddler sees every operation on.
type NewGraph = dyn Fn(u64, &Arc<Mutex<Meddling>>) -> Box<dyn Graph> + std::marker::Sync;

fn play(seed: u64, steps: &[Step], graph: &NewGraph) -> Result<(), String> {
    let play = || Scene::new(seed, graph).play(steps);
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(format!("panic: {}", said.unwrap_or_else(|| "see above".to_owned())))
    })
}

/// Leaves out steps as long as the history still fails. One that does not fail again, because it depends on which of two
/// threads comes first, stays as it is.
fn shrink(
    seed: u64,
    mut steps: Vec<Step>,
    mut error: String,
    graph: &NewGraph,
) -> (Vec<Step>, String) {
    let mut at = 0;
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match play(seed, &fewer, graph) {
            Err(still) => (steps, error, at) = (fewer, still, 0),
            Ok(()) => at += 1,
        }
    }
    (steps, error)
}

/// The histories asked for: one by its seed, or so many, from that seed or the first.
fn seeds(variable: &str, usual: u64) -> Range<u64> {
    let count = number(variable);
    match number("ACLARAI_HISTORY_SEED") {
        Some(seed) => seed..seed + count.unwrap_or(1),
        None => 0..count.unwrap_or(usual),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn whatever_happens_the_graph_follows_the_vault_and_no_edit_is_lost() {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    play_all("whatever_happens", seeds("ACLARAI_HISTORIES", HISTORIES), threads, &in_memory);
}

#[cfg(feature = "neo4j")]
#[test]
fn on_a_real_server_too() {
    let Some(server) = graphs::server() else {
        let text = b"skipped: histories on Neo4j, as ACLARAI_TEST_NEO4J_URI is not set (tests/neo4j start)\n";
        std::io::Write::write_all(&mut std::io::stderr(), text).unwrap();
        return;
    };
    // One at a time: it holds one graph.
    let seeds = seeds("ACLARAI_NEO4J_HISTORIES", HISTORIES_ON_SERVER);
    let served: &NewGraph = &move |_, meddling| graphs::on_server(&server, meddling);
    play_all("on_a_real_server_too", seeds, 1, served);
}

fn play_all(test: &str, seeds: Range<u64>, threads: usize, graph: &NewGraph) {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for n in 0..threads {
            let work = || {
                while locked(&failed).is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let steps = Random(seed).history();
                    if let Err(error) = play(seed, &steps, graph) {
                        locked(&failed).get_or_insert((seed, steps, error));
                    }
                }
            };
            std::thread::Builder::new()
                .name(format!("history-{n}"))
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
    let Some((seed, steps, error)) = failed.into_inner().unwrap() else { return };
    // Told before it is shrunk, which may take long.
    let again = format!("ACLARAI_HISTORY_SEED={seed} cargo test --lib {test}");
    eprintln!("again: {again}\n{error}");
    let (steps, error) = shrink(seed, steps, error, graph);
    let mut story = String::new();
    for step in steps {
        writeln!(story, "    {step:?}").unwrap();
    }
    panic!("again: {again}\nwhat is left of it:\n{story}{error}");
}
