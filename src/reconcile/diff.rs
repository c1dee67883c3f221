//! The write that one block needs: a pure function of what the vault shows and what the graph holds.
//!
//! Two questions are answered in turn. Has the *content* changed? The v1 hash sees only the line before the marker
//! and the v2 hash all of the block, so together they tell an edit from churn ([`Content`]). Then, which *version*
//! wins? The marker's number V is compared with the number last accepted from the vault (B), never with the graph's
//! own number G: without write-back the marker keeps its number while G grows, and "V < G is stale" would refuse a
//! user's second edit for ever.

use crate::block::ContentHash;
use crate::graph::StoredBlock;

/// The vault's side of a block, as far as it decides.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// V, the version in its marker.
    pub version: i64,
    /// v1 hash.
    pub hash: ContentHash,
    /// v2 hash.
    pub body_hash: ContentHash,
    /// Absolute path of its file, as the graph stores it.
    pub source_file: &'a str,
}

/// The end of a decision. Each outcome is one of the counters of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Created, or a stub filled.
    New,
    /// Its content changed and the change was accepted.
    Updated,
    /// Nothing to write.
    Unchanged,
    /// Same content in another file.
    Moved,
    /// Same content; only hashes or version numbers are brought up to date.
    Metadata,
    /// The block was archived and is in the vault again.
    Restored,
    /// The vault's edit is older than the graph: refused and flagged.
    Conflict,
}

impl Outcome {
    /// The word used in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::New => "new",
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Moved => "moved",
            Outcome::Metadata => "metadata",
            Outcome::Restored => "restored",
            Outcome::Conflict => "conflict",
        }
    }
}

/// The answer for one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// How it is counted.
    pub outcome: Outcome,
    /// The write, if any.
    pub plan: Option<Effect>,
    /// The marker's number is behind the one last accepted, though the content is the same.
    pub version_behind: bool,
    /// Why, for `--explain`.
    pub why: &'static str,
}

/// A write without the texts: those are fetched for what is written only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// All of the block.
    Content {
        /// The graph's new version.
        version: i64,
        /// The marker version accepted.
        vault_version: i64,
        /// Whether the block is marked for reprocessing.
        mark: bool,
    },
    /// Only facts about it.
    Facts {
        /// The graph's new version, where it changes.
        version: Option<i64>,
        /// The marker version accepted, where it changes.
        vault_version: Option<i64>,
        /// Whether path and tier are written.
        place: bool,
        /// Whether the v2 text and hash are filled in.
        body: bool,
    },
    /// The flag of a refused edit.
    Conflict,
}

/// The answer that the two hashes give together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentState {
    Same,
    /// v1 differs, v2 is the same: a score comment or white space near the marker.
    Churn,
    /// The graph has no v2 yet: first contact with a node of the original.
    FirstContact,
    Changed,
}

fn content_state(found: Found<'_>, stored: &StoredBlock) -> ContentState {
    let same = |hash: &ContentHash, stored: &Option<String>| {
        stored.as_deref().is_some_and(|stored| hash.to_string() == stored)
    };
    let v1_same = same(&found.hash, &stored.hash);
    match (v1_same, &stored.body_hash) {
        (true, None) => ContentState::FirstContact,
        (false, None) => ContentState::Changed,
        (true, Some(_)) if same(&found.body_hash, &stored.body_hash) => ContentState::Same,
        (false, Some(_)) if same(&found.body_hash, &stored.body_hash) => ContentState::Churn,
        _ => ContentState::Changed,
    }
}

/// Decides what to write for a block that may be written, that is for the winner of its id.
pub fn decide(found: Found<'_>, stored: Option<&StoredBlock>) -> Decision {
    let v = found.version;
    let decision = |outcome, plan, why| Decision { outcome, plan, version_behind: false, why };
    let Some(stored) = stored else {
        return decision(Outcome::New, Some(content(v, v, true)), "not in the graph");
    };
    let g = stored.version;
    if stored.hash.is_none() {
        let plan = content(v.max(1).max(g), v, true);
        return decision(Outcome::New, Some(plan), "the graph had only its id");
    }
    let state = content_state(found, stored);
    let accepted = stored.vault_version;
    if state == ContentState::Changed {
        let outcome = if stored.archived { Outcome::Restored } else { Outcome::Updated };
        let (version, vault_version, why) = match accepted {
            None => (g.saturating_add(1).max(v), v, "changed since the graph was written"),
            Some(b) if v == b => (g.saturating_add(1), b, "edited in the vault"),
            Some(b) if v > b => {
                (g.saturating_add(1).max(v), v, "edited, with a newer marker version")
            }
            Some(_) => return conflict(found, stored),
        };
        return decision(outcome, Some(content(version, vault_version, true)), why);
    }
    same_content(found, stored, state)
}

/// The rows of the version table whose content is the same: facts are brought up to date, nothing is marked.
fn same_content(found: Found<'_>, stored: &StoredBlock, state: ContentState) -> Decision {
    let v = found.version;
    let (g, b) = (stored.version, stored.vault_version);
    let version_behind = b.is_some_and(|b| v < b);
    let accepts = b.is_none_or(|b| v > b);
    let moved = stored.source_file.as_deref() != Some(found.source_file);
    let version = if accepts { g.max(v) } else { g };
    let vault_version = if accepts { v } else { b.unwrap_or(v) };

    if state == ContentState::Churn && !version_behind {
        let outcome = if stored.archived { Outcome::Restored } else { Outcome::Metadata };
        let plan = content(version, vault_version, false);
        let why = "same text, but its last line before the marker reads differently";
        return Decision { outcome, plan: Some(plan), version_behind, why };
    }
    let facts = Effect::Facts {
        version: (version != g).then_some(version),
        vault_version: accepts.then_some(vault_version),
        place: moved || b.is_none(),
        body: state == ContentState::FirstContact,
    };
    let (outcome, why) = if stored.archived {
        (Outcome::Restored, "was archived and is in the vault again")
    } else if state == ContentState::FirstContact {
        (Outcome::Metadata, "first contact: the second hash is filled in")
    } else if moved {
        (Outcome::Moved, "same text in another file")
    } else if accepts {
        (Outcome::Metadata, "same text, newer marker version")
    } else if stored.conflict.is_some() {
        (Outcome::Metadata, "the conflict is settled: vault and graph agree again")
    } else {
        let why = if version_behind { "same text, older marker version" } else { "unchanged" };
        return Decision { outcome: Outcome::Unchanged, plan: None, version_behind, why };
    };
    Decision { outcome, plan: Some(facts), version_behind, why }
}

fn conflict(found: Found<'_>, stored: &StoredBlock) -> Decision {
    let known = stored.conflict.as_ref().is_some_and(|known| {
        known.version == found.version
            && known.hash == found.hash.to_string()
            && known.file == found.source_file
    });
    Decision {
        outcome: Outcome::Conflict,
        plan: (!known).then_some(Effect::Conflict),
        version_behind: false,
        why: if known {
            "vault out of sync with graph, as reported before"
        } else {
            "vault out of sync with graph: its marker version is older than the one last accepted, and the text differs"
        },
    }
}

fn content(version: i64, vault_version: i64, mark: bool) -> Effect {
    Effect::Content { version, vault_version, mark }
}

#[cfg(test)]
mod tests;
