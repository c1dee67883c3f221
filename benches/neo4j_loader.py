#!/usr/bin/env python3
"""A loader such as one would write by hand in an hour: the yardstick of benches/compare.sh for a first sync into Neo4j.

usage: neo4j_loader.py VAULT [--all] [--wipe]

Reads inline markers, hashes the line before each, and writes rows of 1,000 over two connections. It keeps no state, heeds no edit
of others, and finds no faults: it does less than a sync has to. By itself it writes seven properties of a block; with
--all the eleven that a sync writes. --wipe empties the graph of blocks first. Makes the indexes that other services have too.
Wants the Python package `neo4j`, and ACLARAI_TEST_NEO4J_URI, NEO4J_USER, NEO4J_PASSWORD.
"""
import argparse
import concurrent.futures
import datetime
import hashlib
import os
import pathlib
import re

import neo4j

MARKER = re.compile(r"<!--\s*aclarai:id=([^\s-]+)(?:\s+ver=(\d+))?\s*-->")
SCHEMA = (
    "CREATE CONSTRAINT block_id_unique IF NOT EXISTS FOR (b:Block) REQUIRE b.id IS UNIQUE",
    "CREATE INDEX block_text_index IF NOT EXISTS FOR (b:Block) ON (b.text)",
    "CREATE INDEX block_hash_index IF NOT EXISTS FOR (b:Block) ON (b.hash)",
)
SEVEN = """UNWIND $rows AS r MERGE (b:Block {id: r[0]})
SET b.text = r[1], b.hash = r[2], b.version = r[3], b.source_file = r[4], b.last_updated = $now, b.needs_reprocessing = true"""
ELEVEN = SEVEN + ", b.vault_version = r[3], b.body = r[5], b.body_hash = r[6], b.tier = 1"
ROWS = 1_000
INDEXED_BYTES_MAX = 8_000  # a longer value does not fit into an index


def digest(text):
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def blocks_of(note):
    """The blocks of a note: id, text before the marker, its hash, version, file, all since the last marker, its hash."""
    since, line_before = [], ""
    for line in note.read_text(encoding="utf-8", errors="replace").splitlines():
        since.append(line)
        if marker := MARKER.search(line):
            if text := line[: marker.start()].strip() or line_before:
                body = MARKER.sub("", "\n".join(since)).strip()
                short = text.encode()[:INDEXED_BYTES_MAX].decode(errors="ignore")
                yield [marker[1], short, digest(text), int(marker[2] or 1), str(note), body, digest(body)]
            since = []
        line_before = line.strip() or line_before


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("vault", type=pathlib.Path)
    arguments.add_argument("--all", action="store_true", help="write the eleven properties that a sync writes")
    arguments.add_argument("--wipe", action="store_true", help="empty the graph of blocks first")
    arguments = arguments.parse_args()
    login = os.environ["NEO4J_USER"], os.environ["NEO4J_PASSWORD"]
    uri = os.environ["ACLARAI_TEST_NEO4J_URI"]
    with neo4j.GraphDatabase.driver(uri, auth=login, notifications_min_severity="OFF") as driver:
        with driver.session() as session:
            for statement in SCHEMA:
                session.run(statement).consume()
            if arguments.wipe:
                session.run("MATCH (b:Block) CALL (b) { DETACH DELETE b } IN TRANSACTIONS OF 5000 ROWS").consume()
        found = {row[0]: row for note in arguments.vault.rglob("*.md") for row in blocks_of(note)}
        rows = [row if arguments.all else row[:5] for _, row in sorted(found.items())]
        batches = [rows[at : at + ROWS] for at in range(0, len(rows), ROWS)]
        now = datetime.datetime.now(datetime.timezone.utc)

        def write(batch):
            with driver.session() as session:
                session.run(ELEVEN if arguments.all else SEVEN, rows=batch, now=now).consume()

        with concurrent.futures.ThreadPoolExecutor(2) as connections:
            list(connections.map(write, batches))
    print(f"{len(rows)} blocks, {sum(len(row[-2]) for row in rows if arguments.all)} characters of body")


main()
