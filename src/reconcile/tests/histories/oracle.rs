//! The right node after a sync: the tables of the vault sync, written a second time and for one block only.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::ARCHIVE_AFTER;
use super::world::{Condition, File, Text, World};
use crate::graph::{Conflict, Node};

/// Where the id of a block must be looked for.
pub(super) enum Winner {
    /// This occurrence may write.
    At(&'static str, Text),
    /// The vault does not hold it.
    Nowhere,
    /// The graph names a place that nobody can look into now: nothing is decided.
    Unknown,
}

/// The place that may write: in the file that the graph names, then with the text that the graph holds, then not in a
/// likely copy, then the first by folder and name.
pub(super) fn winner(world: &World, id: usize, node: Option<&Node>) -> Winner {
    let home = node.and_then(|node| node.source_file.as_deref());
    if home.is_some_and(|home| is_out_of_sight(world, home)) {
        return Winner::Unknown;
    }
    let mut left = world.occurrences(id);
    keep(&mut left, |path, _| Some(world.place(path).as_str()) == home);
    keep(&mut left, |_, text| node.is_some_and(|node| is_held(node, text)));
    keep(&mut left, |path, _| !is_likely_copy(world, path));
    match left.first() {
        Some((path, text)) => Winner::At(path, *text),
        None if world.is_merging(id) || home.is_some_and(|home| world.is_copied(home)) => {
            Winner::Unknown
        }
        None => Winner::Nowhere,
    }
}

/// Leaves those that are right, if there are any.
fn keep(left: &mut Vec<(&'static str, Text)>, is_right: impl Fn(&str, &Text) -> bool) {
    if left.iter().any(|(path, text)| is_right(path, text)) {
        left.retain(|(path, text)| is_right(path, text));
    }
}

fn is_held(node: &Node, text: &Text) -> bool {
    node.hash.as_ref().is_some_and(|hash| *hash == sha(&text.v1()))
        && node.body_hash.as_ref().is_none_or(|hash| *hash == sha(&text.v2()))
}

/// `a 2.md` beside an `a.md` that shares an id with it.
fn is_likely_copy(world: &World, path: &str) -> bool {
    let Some(original) = path.strip_suffix(" 2.md").map(|stem| format!("{stem}.md")) else {
        return false;
    };
    let ids = |wanted: &str| -> Vec<usize> {
        let of = world.readable().filter(|(path, _)| *path == wanted);
        of.flat_map(|(_, file)| file.blocks.iter().map(|text| text.id)).collect()
    };
    let originals = ids(&original);
    ids(path).iter().any(|id| originals.contains(id))
}

/// Whether the place that the graph names holds the id.
pub(super) fn is_at_home(world: &World, id: usize, node: Option<&Node>) -> bool {
    let home = node.and_then(|node| node.source_file.as_deref());
    world.places(id).iter().any(|(path, _)| Some(world.place(path).as_str()) == home)
}

fn is_out_of_sight(world: &World, home: &str) -> bool {
    let unmounted = world.unmounted && home.starts_with(&world.place("t2"));
    let is_hidden = |path: &str, file: &File| {
        world.is_seen(path) && matches!(file.condition, Condition::Garbled | Condition::Merging)
    };
    unmounted || world.at(home).is_some_and(|(path, file)| is_hidden(path, file))
}

/// How long a block must have been absent before it may be archived. Where it lived looks as if a mount were gone, a day,
/// unless a person confirms it.
pub(super) fn patience(world: &World, node: Option<&Node>, confirmed: bool) -> TimeDelta {
    let home = node.and_then(|node| node.source_file.as_deref());
    let path = home.and_then(|home| Path::new(home).strip_prefix(&world.root).ok()?.to_str());
    match path.is_some_and(|path| world.is_detached(path)) && !confirmed {
        true => TimeDelta::days(1),
        false => TimeDelta::seconds(ARCHIVE_AFTER.as_secs() as i64 - 1),
    }
}

/// Whether the graph names a file that was emptied so recently that a sync may leave it alone.
pub(super) fn may_wait(world: &World, node: Option<&Node>) -> bool {
    let home = node.and_then(|node| node.source_file.as_deref());
    let young = |file: &File| matches!(file.condition, Condition::Blank(syncs) if syncs < 2);
    home.and_then(|home| world.at(home)).is_some_and(|(_, file)| young(file))
}

pub(super) fn sha(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The node after a sync that found the block there.
pub(super) fn after(
    before: Option<&Node>,
    world: &World,
    text: &Text,
    path: &str,
    now: DateTime<Utc>,
) -> Node {
    let place = world.place(path);
    let v = text.version;
    let mut node = before.cloned().unwrap_or_default();
    let all = |node: &mut Node, version: i64, vault_version: i64| {
        *node = Node {
            text: Some(text.v1()),
            hash: Some(sha(&text.v1())),
            version: Some(version),
            last_updated: Some(now),
            needs_reprocessing: node.needs_reprocessing,
            source_file: Some(place.clone()),
            vault_version: Some(vault_version),
            body: Some(text.v2()),
            body_hash: Some(sha(&text.v2())),
            tier: Some(world.tier(text.id, path)),
            archived_at: None,
            conflict: None,
            relationships: node.relationships,
        };
    };
    // No node, or a stub.
    let Some(known_hash) = node.hash.clone() else {
        let version = if before.is_some() { v.max(1).max(node.version.unwrap_or(0)) } else { v };
        all(&mut node, version, v);
        node.needs_reprocessing = true;
        return node;
    };
    let g = node.version.unwrap_or(0);
    let b = node.vault_version;
    let is_behind = b.is_some_and(|b| v < b);
    let v1_same = known_hash == sha(&text.v1());
    let v2_same = node.body_hash.as_ref().map(|known| *known == sha(&text.v2()));
    let (changed, churned) = match (v1_same, v2_same) {
        (true, Some(true)) => (false, false),
        (true, Some(false)) => (true, false),
        (false, Some(true)) => (false, true),
        (false, Some(false)) => (true, false),
        (true, None) => (false, false),
        (false, None) => (true, false),
    };
    if changed {
        match b {
            None => all(&mut node, v.max(g + 1), v),
            Some(b) if v == b => all(&mut node, g + 1, b),
            Some(b) if v > b => all(&mut node, v.max(g + 1), v),
            Some(_) => {
                let hash = sha(&text.v1());
                node.conflict = Some(Conflict { version: v, hash, file: place });
                return node;
            }
        }
        node.needs_reprocessing = true;
        return node;
    }
    // The same content: facts only, and a flag that is settled or a burial that was premature is taken back.
    let vault_version = if is_behind { b.unwrap_or(v) } else { v };
    let version = if is_behind { g } else { g.max(v) };
    if churned && !is_behind {
        all(&mut node, version, vault_version);
        return node;
    }
    if b.is_none() || node.source_file.as_deref() != Some(place.as_str()) {
        node.source_file = Some(place);
        node.tier = Some(world.tier(text.id, path));
    }
    if v2_same.is_none() {
        (node.body, node.body_hash) = (Some(text.v2()), Some(sha(&text.v2())));
    }
    node.version = Some(version);
    node.vault_version = Some(vault_version);
    node.archived_at = None;
    node.conflict = None;
    node
}
