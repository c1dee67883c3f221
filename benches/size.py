#!/usr/bin/env python3
"""Seconds and memory of a sync against the number of notes, drawn beside `git status` and `sha256sum` of the same vaults.

usage: benches/size.py [MOST]            default: 1,000 to 100,000 notes; 1000000 takes 40 GB below TMPDIR, and an hour

Wants cargo, git and a quiet machine. The vaults are made up, the same for everyone: 18 blocks and 7 kB a note. Each is synced
into an embedded graph of its own, once from nothing and three times unchanged, of which the best counts. With
ACLARAI_TEST_NEO4J_URI, NEO4J_USER and NEO4J_PASSWORD the hand-written loader (neo4j_loader.py) is timed too, up to 30,000 notes,
for which that server IS EMPTIED OF BLOCKS. Writes benches/size.svg and prints the figures as a table.
"""
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SIZES = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
LOADER_MOST = 30_000
NEO4J = ("ACLARAI_TEST_NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD")
# Column, of which drawing, colour.
LINES = {
    "first sync": ("seconds", "#c2410c"),
    "unchanged sync": ("seconds", "#1d4ed8"),
    "git status": ("seconds", "#737373"),
    "sha256sum": ("seconds", "#0f766e"),
    "loader into Neo4j": ("seconds", "#a21caf"),
    "first sync, peak": ("MB", "#c2410c"),
    "unchanged sync, peak": ("MB", "#1d4ed8"),
}


def timed(command, **options):
    """Seconds by the clock and most memory in MB of a command that must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1.024 / 1000


def measure(notes, program, maker, work):
    """The figures of one size, by column."""
    vault, state = work / "vault", work / "state"
    subprocess.run([maker, "make", vault, str(notes)], check=True, stdout=subprocess.DEVNULL)
    tiers = {f"VAULT_{tier}_PATH": "." for tier in ("TIER1", "SUMMARIES", "CONCEPTS")}
    plain = {"PATH": os.environ["PATH"], "HOME": str(work), **tiers}
    sync = [program, "--vault", vault, "--state-dir", state, "--log-level", "ERROR", "run", "vault_sync"]
    time.sleep(4)  # a note that was written a moment ago is looked at twice
    os.sync()
    row = {}
    row["first sync"], row["first sync, peak"] = timed(sync, env=plain)
    again = [timed(sync, env=plain) for _ in range(3)]
    row["unchanged sync"], row["unchanged sync, peak"] = min(again)
    hashing = "find . -name '*.md' -print0 | xargs -0 sha256sum"
    row["sha256sum"] = min(timed(["sh", "-c", hashing], cwd=vault)[0] for _ in range(2))
    if all(name in os.environ for name in NEO4J) and notes <= LOADER_MOST:
        loader = [os.environ.get("PYTHON", sys.executable), HERE / "neo4j_loader.py", vault]
        row["loader into Neo4j"] = timed([*loader, "--wipe"])[0]
    git = ["git", "-C", vault, "-c", "gc.auto=0", "-c", "core.untrackedCache=false"]
    for step in (["init", "-q"], ["add", "-A"], ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "notes"]):
        subprocess.run([*git, *step], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    row["git status"] = min(timed([*git, "status"])[0] for _ in range(4))
    shutil.rmtree(vault)
    shutil.rmtree(state)
    return row


def drawing(unit, rows, left):
    """One drawing with two logarithmic scales, its left edge at `left`."""
    width, height, top, bottom = 330, 300, 40, 40
    lines = {name: colour for name, (of, colour) in LINES.items() if of == unit and any(name in row for row in rows.values())}
    values = [row[name] for row in rows.values() for name in lines if name in row]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(min(rows)), math.log10(max(rows))
    x = lambda notes: left + width * (math.log10(notes) - first) / (last - first)
    y = lambda value: top + height * (high - math.log10(value)) / (high - low)
    out = [f'<text x="{left}" y="20" font-weight="bold">{unit}</text>']
    for power in range(low, high + 1):
        at = y(10**power)
        out.append(f'<path d="M{left} {at:.1f}h{width}" stroke="#d4d4d4"/>')
        out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:g}</text>')
    for notes in rows:
        name = f"{notes // 1000}k" if notes < 1_000_000 else "1M"
        out.append(f'<text x="{x(notes):.1f}" y="{top + height + 18}" text-anchor="middle">{name}</text>')
    names = []
    for name, colour in lines.items():
        points = [(x(notes), y(row[name])) for notes, row in rows.items() if name in row]
        out.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in points]
        names.append([points[-1][1] + 4, points[-1][0] + 6, name, colour])
    names.sort()
    for above, name in zip(names, names[1:]):
        if abs(name[1] - above[1]) < 100:
            name[0] = max(name[0], above[0] + 14)  # names do not lie on each other
    out += [f'<text x="{a:.1f}" y="{b:.1f}" fill="{colour}">{name}</text>' for b, a, name, colour in names]
    out.append(f'<text x="{left + width}" y="{top + height + bottom - 6}" text-anchor="end">notes</text>')
    return out


def main():
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    os.chdir(HERE.parent)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "aclarai-scheduler", "--example", "bench_vault"], check=True)
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "release"
    work = pathlib.Path(tempfile.mkdtemp(prefix="aclarai-size."))
    rows = {}
    try:
        print("| notes | " + " | ".join(LINES) + " |\n" + "|---" * (len(LINES) + 1) + "|")
        for notes in (size for size in SIZES if size <= most):
            rows[notes] = row = measure(notes, built / "aclarai-scheduler", built / "examples/bench_vault", work)
            cells = [f"{row[name]:.3g} {'s' if of == 'seconds' else of}" if name in row else "" for name, (of, _) in LINES.items()]
            print(f"| {notes:,} | " + " | ".join(cells) + " |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    parts = drawing("seconds", rows, 60) + drawing("MB", rows, 580)
    style = 'font-family="sans-serif" font-size="12" fill="#404040"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1060 385" {style}>\n<rect width="1060" height="385" fill="#fff"/>\n'
    (HERE / "size.svg").write_text(svg + "\n".join(parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
