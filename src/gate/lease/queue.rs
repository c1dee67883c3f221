//! Runs that were ordered and are not claimed yet. Claims of one job reach the keeper in the order of the runs' instants:
//! a keeper that has taken in a later one says of an earlier one that it was run. Were this host to crash between the two,
//! nobody would run the earlier one.

use crate::graph::lease::Claim;

/// In the order in which workers take them.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed(Vec<Claim>);

impl Unclaimed {
    pub(crate) fn push(&mut self, claim: Claim) {
        self.0.push(claim);
    }

    /// Whether nothing of the same job that was ordered before is still to be claimed for an earlier instant. Runs that were
    /// ordered later are not waited for, as no worker may be left to claim them.
    pub(crate) fn is_next(&self, claim: &Claim) -> bool {
        let before = self.0.iter().take_while(|other| *other != claim);
        !before.into_iter().any(|other| other.job == claim.job && other.instant < claim.instant)
    }

    /// It was claimed, or will not be.
    pub(crate) fn remove(&mut self, claim: &Claim) {
        if let Some(at) = self.0.iter().position(|other| other == claim) {
            self.0.remove(at);
        }
    }

    /// Nothing of it will be claimed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
