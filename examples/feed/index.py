#!/usr/bin/env python3
"""Puts changed blocks into a full-text index: the job of docs/custom-jobs.md.

Reads a block a line from standard input, as a job with `feed` is given them, and says of each batch that it is done once
the index holds it. Killed in the middle, it loses nothing: what was not said to be done comes again, and putting a block
in twice is the same as once.
"""

import json
import os
import sqlite3
import sys

INDEX = os.environ.get("SEARCH_INDEX") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "index.db")
BATCH = 200

SCHEMA = """
CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, file TEXT);
CREATE VIRTUAL TABLE IF NOT EXISTS body USING fts5 (text);
"""


def put(index, block):
    """Replaces the block in the index; an archived one is taken out of it."""
    index.execute("INSERT INTO block (id, file) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET file = excluded.file",
                  (block["id"], block["source_file"]))
    number, = index.execute("SELECT number FROM block WHERE id = ?", (block["id"],)).fetchone()
    index.execute("DELETE FROM body WHERE rowid = ?", (number,))
    if block["archived"]:
        index.execute("DELETE FROM block WHERE number = ?", (number,))
    else:
        text = block["body"] or block["text"] or ""
        index.execute("INSERT INTO body (rowid, text) VALUES (?, ?)", (number, text))


def main():
    index = sqlite3.connect(INDEX)
    index.executescript(SCHEMA)
    done = []

    def finish():
        index.commit()  # First the index, then the word that it is done.
        if done:
            print(json.dumps({"done": done}), flush=True)
            done.clear()

    for line in sys.stdin.buffer:
        block = json.loads(line)
        put(index, block)
        done.append(block["id"])
        if len(done) == BATCH:
            finish()
    finish()


if __name__ == "__main__":
    main()
