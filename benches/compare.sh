#!/usr/bin/env bash
# Every ratio of speed and size that the project promises, measured side by side in one run, in one table.
#
#   benches/compare.sh            builds what it needs; makes its vaults in $TMPDIR (about 2 GB); about 20 minutes
#
# Environment: FILES (50000) files of the made-up vault; RUNS (3) the best of so many runs counts; MINUTES (3) to watch
#   a daemon; VAULT a vault for the store rows (default: 14,000 made-up files); ACLARAI_TEST_NEO4J_URI with NEO4J_USER and
#   NEO4J_PASSWORD for the Neo4j rows, WHICH EMPTY THAT SERVER OF BLOCKS, and PYTHON (python3) an interpreter that has
#   the package `neo4j`; LARGE (0, row left out) files of a large vault for
#   P13 and P14: 1000000 take 30 GB and some hours.
# A row that cannot run says why. Ratios, CPU time and memory only: wall-clock times of different machines say nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
# Only the Neo4j row is to know of the server: these variables alone make it the graph of every run.
neo4j=(env "NEO4J_USER=${NEO4J_USER:-}" "NEO4J_PASSWORD=${NEO4J_PASSWORD:-}")
unset NEO4J_URI NEO4J_HOST NEO4J_BOLT_PORT NEO4J_USER NEO4J_PASSWORD
FILES="${FILES:-50000}" RUNS="${RUNS:-3}"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/aclarai-compare.XXXXXX")
trap 'chmod -R u+w "$WORK"; rm -rf "$WORK"' EXIT
cargo build --release --quiet --example bench_vault
cargo build --release --quiet
BIN=$PWD/target/release/aclarai-scheduler SCAN=$PWD/target/release/examples/bench_vault

rows=()
row() { rows+=("$1|$2|$3|$4"); printf '%-4s %-58s target %-12s measured %s\n' "$1" "$2" "$3" "$4"; }
skip() { row "$1" "$2" "$3" "not run: $4"; }
megabytes() { python3 -c "print(f'{$1 * 1.024 / 1000:.1f} MB')"; }   # of the kernel's kB
ratio() { python3 -c "print(f'{$1 / $2:.2f} x')"; }
# measure COMMAND...: runs it RUNS times; sets wall and cpu (seconds) of the run with the least wall time, and peak (kB).
# What was written before is on the disk by then, so that nobody waits for it.
measure() {
  local best
  sync
  best=$(python3 - "$RUNS" "$@" <<'P'
import os, resource, subprocess, sys, time
runs, command = int(sys.argv[1]), sys.argv[2:]
best = None
for _ in range(runs):
    before = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - before
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    row = (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
    best = row if best is None or row < best else best
print(*best)
P
)
  read -r wall cpu peak <<<"$best"
}

echo "== $(nproc) processors, $(uname -srm), $(date -u +%F), $("$BIN" --version)"
V=$WORK/vault; "$SCAN" make "$V" "$FILES"
measure sh -c 'find "$1" -name "*.md" -print0 | xargs -0 sha256sum' sh "$V"; sha_cpu=$cpu
measure "$SCAN" scan "$V" 2; scan_wall=$wall scan_cpu=$cpu
row P1 "scan without store, CPU / sha256sum" "<= 0.75 x" "$(ratio "$scan_cpu" "$sha_cpu")"
row P1 "scan without store, wall / CPU" "<= 0.55 x" "$(ratio "$scan_wall" "$scan_cpu")"
V2=$WORK/vault2; "$SCAN" make "$V2" $((2 * FILES)) >/dev/null
measure "$SCAN" scan "$V2" 2; row P2 "scan of twice the files / once" "<= 2.05 x" "$(ratio "$wall" "$scan_wall")"
rm -rf "$V2"

export VAULT_TIER1_PATH=. VAULT_SUMMARIES_PATH=. VAULT_CONCEPTS_PATH=.
sleep 4   # what was written a moment ago is not trusted and would be read again
first_runs=$RUNS; RUNS=1
measure "$BIN" --vault "$V" --state-dir "$WORK/state" --log-level ERROR run vault_sync
row P7 "peak memory of the first sync" "<= 56 MB" "$(megabytes "$peak")"
STATIC=$(uname -m)-unknown-linux-musl
if cargo build --release --quiet --target "$STATIC" 2>/dev/null; then
  measure "target/$STATIC/release/aclarai-scheduler" --vault "$V" --state-dir "$WORK/state-static" --log-level ERROR run vault_sync
  row P7 "peak memory of the first sync, static build" "<= 56 MB" "$(megabytes "$peak")"
else
  skip P7 "memory of the static build" "" "cannot build for $STATIC: see docs/operating.md"
  STATIC=
fi
RUNS=$first_runs
if command -v git >/dev/null; then
  # Without gc.auto 0 git packs its new objects in the background for half a minute, on one of the processors.
  (cd "$V" && git init -q && git config core.untrackedCache false && git config gc.auto 0 && git add -A >/dev/null 2>&1 &&
    git -c user.name=bench -c user.email=bench@localhost commit -qm vault && git status >/dev/null)
  # Alternating and many, because both take less than a blink and the machine is never quite the same: medians.
  read -r git_wall same_wall < <(python3 - git -C "$V" status -- "$BIN" --vault "$V" --state-dir "$WORK/state" --log-level ERROR run vault_sync <<'P'
import statistics, subprocess, sys, time
cut = sys.argv.index("--")
commands = sys.argv[1:cut], sys.argv[cut + 1:]
walls = [], []
for _ in range(25):
    for command, wall in zip(commands, walls):
        before = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall.append(time.perf_counter() - before)
print(*map(statistics.median, walls))
P
)
  row P3 "sync of an unchanged vault / git status, medians of 25" "<= 0.90 x" "$(ratio "$same_wall" "$git_wall")"
else
  skip P3 "sync of an unchanged vault / git status" "<= 0.90 x" "git is missing"
fi
read -r edited unedited < <(python3 - "$V" "$BIN" "$WORK/state" 10 <<'P'
import glob, os, statistics, subprocess, sys, time
vault, program, state, runs = sys.argv[1:4] + [int(sys.argv[4])]
files = sorted(glob.glob(vault + "/**/*.md", recursive=True))
def sync():
    before = time.perf_counter()
    subprocess.run([program, "--vault", vault, "--state-dir", state, "--log-level", "ERROR", "run", "vault_sync"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before
edited, unedited = [], []
for run in range(runs):
    for file in files[run::len(files) // 10][:10]:
        text = open(file, encoding="utf-8").read().replace(" <!--", f" again {run} <!--", 1)
        open(file, "w", encoding="utf-8").write(text)
    time.sleep(2.5)   # a sync waits up to a second for a note that is edited this very moment
    edited.append(sync())
    time.sleep(2.5)   # until then the edits are too young to be trusted, and are read again
    sync()
    unedited.append(sync())
print(statistics.median(edited), statistics.median(unedited))
P
)
row P4 "sync after ten edits / unchanged, medians of 10" "<= 1.15 x" "$(ratio "$edited" "$unedited")"

S=${VAULT:-}
[ -n "$S" ] || { S=$WORK/store; "$SCAN" make "$S" 14000 >/dev/null; }
sleep 4
RUNS=1
measure "$BIN" --vault "$S" --state-dir "$WORK/state-store" --log-level ERROR run vault_sync; store_wall=$wall
sync
bare=$(python3 - "$WORK/state-store/graph.db" "$WORK/bare.db" <<'P'
import os, sqlite3, sys, time
source, target = sys.argv[1:]
db = sqlite3.connect(source)
schema = db.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'blocks' AND sql IS NOT NULL").fetchall()
rows = db.execute("SELECT * FROM blocks").fetchall()
before = time.perf_counter()
bare = sqlite3.connect(target, isolation_level=None)
bare.execute("PRAGMA journal_mode = WAL"); bare.execute("BEGIN")
for (sql,) in schema: bare.execute(sql)
bare.executemany(f"INSERT INTO blocks VALUES ({','.join('?' * len(rows[0]))})", rows)
bare.execute("COMMIT"); bare.execute("PRAGMA wal_checkpoint(TRUNCATE)")
print(time.perf_counter() - before)
P
)
row P5 "first sync into the embedded store / bare insert" "<= 1.10 x" "$(ratio "$store_wall" "$bare")"
mkdir -p "$WORK/empty"
PYTHON="${PYTHON:-python3}"
if [ -n "${ACLARAI_TEST_NEO4J_URI:-}" ] && "$PYTHON" -c "import neo4j" 2>/dev/null; then
  loader=("${neo4j[@]}" "$PYTHON" benches/neo4j_loader.py)
  ours=("${neo4j[@]}" "NEO4J_URI=$ACLARAI_TEST_NEO4J_URI" "$BIN" --vault "$S" --state-dir "$WORK/state-neo4j" --log-level ERROR run vault_sync)
  empty() { "${loader[@]}" "$WORK/empty" --wipe >/dev/null; }   # each begins with an empty graph
  seven=() eleven=() seconds=()
  for _ in $(seq "$first_runs"); do
    empty; measure "${loader[@]}" "$S" --all; all=$wall
    empty; measure "${loader[@]}" "$S"; usual=$wall
    measure "${loader[@]}" "$S"; again=$wall
    empty; rm -rf "$WORK/state-neo4j"
    measure "${ours[@]}"; seven+=("$(ratio "$wall" "$usual")"); eleven+=("$(ratio "$wall" "$all")")
    measure "${ours[@]}"; seconds+=("$(ratio "$wall" "$again")")
  done
  row P6 "first sync into Neo4j / hand-written loader, each into an empty graph" "<= 0.80 x" "${seven[*]}"
  row P6 "the same / the loader with all properties that a sync writes" "<= 0.65 x" "${eleven[*]}"
  row P6 "second, unchanged sync into Neo4j / the loader again" "" "${seconds[*]}"
else
  skip P6 "first sync into Neo4j / hand-written loader" "<= 0.80 x" "ACLARAI_TEST_NEO4J_URI is not set, or $PYTHON has no package neo4j"
fi
RUNS=$first_runs

while IFS='|' read -r a b c d; do row "$a" "$b" "$c" "$d"; done < <(benches/scheduler.sh 1000 "${MINUTES:-3}")
if [ -n "$STATIC" ]; then
  while IFS='|' read -r a b c d; do row "$a" "$b, static build" "$c" "$d"; done < <(CARGO_BUILD_TARGET=$STATIC benches/scheduler.sh 1000 "${MINUTES:-3}")
fi

LARGE=${LARGE:-0}
if [ "$LARGE" -gt 0 ]; then
  # Both as they come, one after the other, so that the disk has the same chance with both.
  L=$WORK/many; "$SCAN" make "$L" "$LARGE" >/dev/null; sleep 4
  cold=("$BIN" --log-level ERROR); RUNS=1
  rm -rf "$WORK/state"; measure "${cold[@]}" --vault "$V" --state-dir "$WORK/state" run vault_sync; small=$wall small_peak=$peak
  measure "${cold[@]}" --vault "$V" --state-dir "$WORK/state" run vault_sync; small_again=$wall
  measure "${cold[@]}" --vault "$L" --state-dir "$WORK/state-many" run vault_sync; many=$wall many_peak=$peak
  measure "${cold[@]}" --vault "$L" --state-dir "$WORK/state-many" run vault_sync
  times=$(python3 -c "print(f'{$LARGE / $FILES * 1.05:.1f}')")
  row P13 "first sync of $LARGE files / of $FILES" "<= $times x" "$(ratio "$many" "$small")"
  row P13 "unchanged sync of the same" "<= $times x" "$(ratio "$wall" "$small_again")"
  row P13 "state file of the same" "<= $times x" "$(ratio "$(stat -c %s "$WORK/state-many/state.db")" "$(stat -c %s "$WORK/state/state.db")")"
  row P14 "memory of that first sync beyond that of $FILES files" "<= 24 bytes an id" "$(python3 -c "print(f'{($many_peak - $small_peak) * 1024 / (($LARGE - $FILES) * 18):.0f} bytes an id')")"
  RUNS=$first_runs; rm -rf "$L" "$WORK/state-many"
else
  skip P13 "first and unchanged sync of many files / of $FILES" "<= 1.05 x as much" "LARGE is not set"
  skip P14 "memory of that first sync" "<= 24 bytes an id" "LARGE is not set"
fi

large() { python3 -c "
words = 'the plan for a quarter grew under load because of retries in the queue, ' * 3
for block in range($1): print(f'{words} <!-- aclarai:id=blk_{block:06} ver=1 -->\n')
print('A last paragraph that keeps the markers inline.')"; }
mkdir -p "$WORK/small" "$WORK/large"; large 40000 > "$WORK/small/a.md"; large 160000 > "$WORK/large/a.md"
measure "$SCAN" scan "$WORK/small" 1; small=$cpu small_peak=$peak; measure "$SCAN" scan "$WORK/large" 1
row P10 "CPU of one file with four times the blocks" "<= 4.20 x" "$(ratio "$cpu" "$small")"
row P10 "memory of the same" "<= 4.20 x" "$(ratio "$peak" "$small_peak")"
{ seq -f 'word <!-- aclarai:id=blk_%06.0f ver=1 -->' 10000 | tr '\n' ' '; echo; } > "$WORK/small/a.md"
{ seq -f 'word <!-- aclarai:id=blk_%06.0f ver=1 -->' 40000 | tr '\n' ' '; echo; } > "$WORK/large/a.md"
measure "$SCAN" scan "$WORK/small" 1; small=$cpu; measure "$SCAN" scan "$WORK/large" 1
row P10 "CPU of one line with four times the markers" "<= 4.20 x" "$(ratio "$cpu" "$small")"
row P11 "size of the stripped program" "<= 9 MB" "$(python3 -c "import os; print(f'{os.path.getsize(\"$BIN\") / 1e6:.1f} MB')")"
measure "$BIN" next --cron "*/30 * * * *"
row P12 "CPU of next" "<= 1.5 ms" "$(python3 -c "print(f'{$cpu * 1000:.1f} ms')")"
measure "$BIN" blocks examples/vault/concepts/Release.md
row P12 "CPU of blocks on a small file" "<= 1.5 ms" "$(python3 -c "print(f'{$cpu * 1000:.1f} ms')")"

printf '\n| # | work | target | measured |\n|---|---|---|---|\n'
for line in "${rows[@]}"; do IFS='|' read -r a b c d <<<"$line"; echo "| $a | $b | $c | $d |"; done
