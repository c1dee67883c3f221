#!/usr/bin/env python3
"""Searches the index that index.py keeps: `search.py WORD...` shows the blocks with all these words, the best first."""

import os
import sqlite3
import sys

INDEX = os.environ.get("SEARCH_INDEX") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "index.db")

FIND = """
SELECT block.id, block.file, snippet(body, 0, '[', ']', '...', 12)
FROM body JOIN block ON block.number = body.rowid WHERE body MATCH ? ORDER BY rank LIMIT 20
"""


def main():
    words = sys.argv[1:]
    if not words:
        sys.exit("usage: search.py WORD...")
    if not os.path.exists(INDEX):
        sys.exit(f"no index yet at {INDEX}: run the job `search` first")
    # In quotes, a word is a word and no operator of the query language.
    query = " ".join('"' + word.replace('"', '""') + '"' for word in words)
    found = sqlite3.connect(INDEX).execute(FIND, (query,)).fetchall()
    for block, file, snippet in found:
        print(f"{block}  {file}\n    {snippet}")
    if not found:
        sys.exit("nothing found")


if __name__ == "__main__":
    main()
