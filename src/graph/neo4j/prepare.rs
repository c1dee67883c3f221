//! Making a server ready: that it takes writes, and that ids are unique.

use std::sync::PoisonError;

use neo4rs::{BoltType, Query};

use super::connection::{BEGIN_LIMIT, Neo4jStore, SCAN_LIMIT};
use super::fault::ServerFault;
use super::{cypher, marks};
use crate::graph::GraphError;
use crate::stop::Stop;

impl Neo4jStore {
    /// Whether an index finds blocks by their ids. Without one, each id costs a look at all blocks.
    pub(super) fn is_indexed(&self) -> Result<bool, GraphError> {
        if let Some(indexed) = self.connected().indexed {
            return Ok(indexed);
        }
        let indexed = match self.ask_number("cannot read the schema", cypher::FIND_INDEX) {
            Ok(found) => found > 0,
            // Not for this user to know; where blocks were written before, there is one.
            Err(GraphError::Unavailable(_)) => true,
            Err(error) => return Err(error),
        };
        self.connected().indexed = Some(indexed);
        Ok(indexed)
    }

    pub(super) fn prepare_once(&self) -> Result<(), GraphError> {
        let _turn = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.connected().prepared {
            return Ok(());
        }
        self.try_to_write(&self.stop)?;
        if !self.is_constrained("Block", "id")? {
            self.create_constraint()?;
        }
        let mut connected = self.connected();
        (connected.prepared, connected.indexed) = (true, Some(true));
        Ok(())
    }

    /// Whether values of a property are unique among the nodes of a label. A user without the right to look may have the
    /// right to create, so a refusal is not the end.
    fn is_constrained(&self, label: &str, property: &str) -> Result<bool, GraphError> {
        let find = cypher::find_constraint(label, property);
        match self.ask_number("cannot read the schema", &find) {
            Ok(found) => Ok(found > 0),
            Err(GraphError::Unavailable(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes in a transaction that is taken back. Unlike other statements the driver sends this one once, so a
    /// server that is read-only, or no longer the leader of its cluster, is known at once and by its own words.
    pub(super) fn try_to_write(&self, stop: &Stop) -> Result<(), GraphError> {
        let graph = self.graph_until(stop)?;
        let attempt = async {
            let mut transaction =
                graph.start_txn().await.map_err(|error| ServerFault::of(&error))?;
            let written = transaction
                .run(cypher::TRY_TO_WRITE)
                .await
                .map_err(|error| ServerFault::of(&error));
            let undone = transaction.rollback().await.map_err(|error| ServerFault::of(&error));
            written.and(undone)
        };
        self.wait_until(stop, BEGIN_LIMIT, attempt)
            .map_err(|stopped| self.error("cannot write", stopped))
    }

    fn create_constraint(&self) -> Result<(), GraphError> {
        let doing = "cannot create the constraint that block ids are unique";
        let create = Query::new(cypher::CREATE_CONSTRAINT.to_owned());
        match self.ask::<BoltType>(doing, SCAN_LIMIT, create) {
            Ok(_) => {
                let wait = Query::new("CALL db.awaitIndexes(300)".to_owned());
                self.ask::<BoltType>(doing, SCAN_LIMIT, wait).map(drop)
            }
            Err(GraphError::Transient(message)) => match self.duplicates()? {
                duplicates if duplicates.is_empty() => Err(GraphError::Transient(message)),
                duplicates => Err(GraphError::Unavailable(self.about_duplicates(&duplicates))),
            },
            Err(error) => Err(with_remedy(error, cypher::CREATE_CONSTRAINT)),
        }
    }

    /// Sees to it that there cannot be two consumers of one name.
    pub(super) fn prepare_for_consumers(&self) -> Result<(), GraphError> {
        if self.connected().prepared_for_consumers {
            return Ok(());
        }
        if !self.is_constrained("SchedulerConsumer", "name")? {
            let doing = "cannot create the constraint that there is one consumer of a name";
            let create = Query::new(marks::CREATE_CONSTRAINT.to_owned());
            self.ask::<BoltType>(doing, SCAN_LIMIT, create)
                .map_err(|error| with_remedy(error, marks::CREATE_CONSTRAINT))?;
        }
        self.connected().prepared_for_consumers = true;
        Ok(())
    }

    pub(super) fn duplicates(&self) -> Result<Vec<(String, i64)>, GraphError> {
        let find = Query::new(cypher::DUPLICATES.to_owned());
        self.ask("cannot look for duplicate blocks", SCAN_LIMIT, find)
    }

    pub(super) fn about_duplicates(&self, duplicates: &[(String, i64)]) -> String {
        let ids: Vec<String> =
            duplicates.iter().map(|(id, n)| format!("{id} ({n} nodes)")).collect();
        format!(
            "neo4j {}: several nodes have the same block id, so ids cannot be made unique: {}: look at them with \
             {}, and delete all but one of each",
            self.address,
            ids.join(", "),
            cypher::SHOW_DUPLICATES
        )
    }
}

/// The error of a constraint that was not created: where this user may not, with the statement for somebody who may.
pub(super) fn with_remedy(error: GraphError, create: &str) -> GraphError {
    match error {
        GraphError::Unavailable(message) => {
            GraphError::Unavailable(format!("{message}: let an administrator run: {create}"))
        }
        error => error,
    }
}
