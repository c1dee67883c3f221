//! Meddling while a run works: faults of the store, users and other services; and the clock of such a run.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::world::World;
use super::{IDS, Killed, Nodes, Service, Trouble, What, locked, oracle};
use crate::block::BlockId;
use crate::clock::{Alarm, Clock, ManualClock};
use crate::graph::{BackDoor, GraphError, Node, Step};
use crate::stop::Stop;

/// The plan of the meddler in the store.
pub(super) struct Meddling {
    pub(super) trouble: Option<Trouble>,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) stop: Stop,
    pub(super) writes: u64,
}

impl Meddling {
    pub(super) fn meddle(&mut self, step: Step<'_>, door: &dyn BackDoor) -> Result<(), GraphError> {
        match step {
            Step::AfterApply(changes) => self.writes += changes.len() as u64,
            Step::Visited => return Ok(()),
            _ => {}
        }
        match &mut self.trouble {
            Some(trouble) if trouble.after > 0 => trouble.after -= 1,
            Some(Trouble { what, .. }) => {
                let what = *what;
                self.trouble = None;
                match what {
                    What::Transient => return Err(GraphError::Transient("a hiccup".to_owned())),
                    What::Unavailable => return Err(GraphError::Unavailable("gone".to_owned())),
                    // Without a message: this is no failure of the test.
                    What::Kill => resume_unwind(Box::new(Killed)),
                    What::Cancel => self.stop.tell(),
                    What::Vault(deed) => locked(&self.world).do_it(deed),
                    What::Service { id, how } => {
                        door.edit(&mut |nodes| serve(&locked(&self.world), nodes, id, how));
                    }
                }
            }
            None => {}
        }
        Ok(())
    }
}

pub(super) fn serve(world: &World, nodes: &mut Nodes, id: usize, how: Service) {
    let place = world.places(id).first().copied();
    let key = BlockId::new(IDS[id]);
    let known = nodes.get_mut(&key);
    match (how, known) {
        (Service::Refresh | Service::Rewrite, Some(node)) if node.hash.is_some() => {
            let read = place.map(|(_, text)| text.v1()).filter(|_| matches!(how, Service::Refresh));
            let text = read.unwrap_or_else(|| "written elsewhere".to_owned());
            node.hash = Some(oracle::sha(&text));
            node.text = Some(text);
            node.version = node.version.map(|version| version + 1);
            node.needs_reprocessing = false;
        }
        (Service::Process, Some(node)) => node.needs_reprocessing = false,
        (Service::Stub, None) => {
            nodes.insert(key, Node { relationships: 1, ..Node::default() });
        }
        (Service::Original, None) => {
            if let Some((path, text)) = place {
                let node = Node {
                    text: Some(text.v1()),
                    hash: Some(oracle::sha(&text.v1())),
                    version: Some(text.version),
                    source_file: Some(world.place(path)),
                    ..Node::default()
                };
                nodes.insert(key, node);
            }
        }
        (Service::Delete, Some(_)) => {
            nodes.remove(&key);
        }
        _ => {}
    }
}

/// The clock of a run, on which a wait is over at once, unless a writer pauses: it has finished then. Where batches are written while files are read, a file may change
/// during its reading; the run waits for it to stand still then, and nobody else would move the clock.
pub(super) struct Hasty {
    pub(super) clock: Arc<ManualClock>,
    /// Where a writer goes on meanwhile.
    pub(super) world: Arc<Mutex<World>>,
}

impl fmt::Debug for Hasty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasty")
    }
}

impl Clock for Hasty {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn boottime(&self) -> Duration {
        self.clock.boottime()
    }

    fn alarm(&self, at: DateTime<Utc>) -> Alarm {
        self.clock.alarm(at)
    }

    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool {
        if locked(&self.world).finish_writing() {
            self.clock.advance(duration);
        }
        ended()
    }
}
