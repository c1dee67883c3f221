#!/bin/sh
# What it costs to get marked blocks through the daemon's pipe: a feed of 100,000 blocks beside a bare pipe of the same
# bytes into the same program.
#
#   benches/feed.sh [BLOCKS] [RUNS]            default: 100000 blocks, the best of 5 runs of each
#
# Wants cargo, Python and a quiet machine. The vault is made up, the same for everyone. Three programs: `parse` reads each
# line as JSON and exits, `index` is examples/feed/index.py, `cat` only takes the bytes. Each run begins with the same graph.
# With ACLARAI_TEST_NEO4J_URI, NEO4J_USER and NEO4J_PASSWORD also from that server, WHICH IS EMPTIED.
# Prints rows of a table: number, what, target, measured.
set -eu
blocks=${1:-100000} runs=${2:-5}
cd "$(dirname "$0")/.."
neo4j_user=${NEO4J_USER:-neo4j} neo4j_password=${NEO4J_PASSWORD:-} neo4j_uri=${ACLARAI_TEST_NEO4J_URI:-}
# Only its own rows are to know of the server.
unset NEO4J_URI NEO4J_HOST NEO4J_BOLT_PORT NEO4J_USER NEO4J_PASSWORD || :
cargo build --release --quiet --bin aclarai-scheduler --example bench_vault
target=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$target/examples/bench_vault" make "$work/vault" $((blocks / 18 + 1)) >/dev/null
BLOCKS=$blocks RUNS=$runs PROGRAM=$target/aclarai-scheduler EXAMPLE=$PWD/examples/feed/index.py WORK=$work \
    NEO4J_TEST_URI=$neo4j_uri NEO4J_TEST_USER=$neo4j_user NEO4J_TEST_PASSWORD=$neo4j_password python3 - <<'P'
import json, os, resource, shutil, subprocess, time

blocks, runs = int(os.environ["BLOCKS"]), int(os.environ["RUNS"])
program, work, uri = os.environ["PROGRAM"], os.environ["WORK"], os.environ["NEO4J_TEST_URI"]
parse = "import json, sys\nfor line in sys.stdin.buffer: json.loads(line)"
programs = {
    "parse": ["python3", "-c", parse],
    "index": ["python3", os.environ["EXAMPLE"]],
    "cat": ["sh", "-c", "exec cat >/dev/null"],
}
plain = {"PATH": os.environ["PATH"], "HOME": work, "SEARCH_INDEX": work + "/index.db"}


def configure(graph, limit):
    jobs = {name: {"command": command, "feed": {"limit": limit}} for name, command in programs.items()}
    config = {"paths": {"vault": work + "/vault", "tier1": ".", "summaries": ".", "concepts": "."},
              "databases": graph, "scheduler": {"jobs": jobs}}
    with open(work + "/config.yaml", "w") as file:
        json.dump(config, file)   # JSON is YAML.


def run(env, *arguments, check=True, **more):
    return subprocess.run([program, "--config", work + "/config.yaml", "--state-dir", work + "/state", "--log-level",
                           "ERROR", *arguments], env=env, check=check, **more)


def fresh():
    for name in os.listdir(work):
        if name.startswith("index.db"):
            os.remove(work + "/" + name)


def timed(do):
    def cpu():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before, used = time.perf_counter(), cpu()
    do()
    return time.perf_counter() - before, cpu() - used


def measure(env, restore, name):
    """The least wall and CPU time of the feed, and of the bare pipe, in turns."""
    feed, pipe = [], []
    for _ in range(runs):
        fresh()
        restore()
        said = []
        feed.append(timed(lambda: said.append(run(env, "run", name, "--json", stdout=subprocess.PIPE))))
        result = json.loads(said[0].stdout)
        assert (result["items_processed"], result["blocks_left"]) == (count, 0), result
        fresh()
        quote = " ".join("'" + word.replace("'", "'\\''") + "'" for word in programs[name])
        pipe.append(timed(lambda: subprocess.run(["sh", "-c", f"cat {work}/lines | {quote} >/dev/null"],
                                                 env=plain, check=True)))
    return [min(figures) for figures in (*zip(*feed), *zip(*pipe))]


def rows(store, env, restore):
    for name, limit in (("parse", 100000), ("parse", 1000), ("index", 100000), ("cat", 100000)):
        configure(graph, limit)
        feed, feed_cpu, pipe, pipe_cpu = measure(env, restore, name)
        target = ">= 0.5 x" if (store, name, limit) == ("SQLite", "parse", 100000) else ""
        print(f"P15|feed of {count} blocks from {store}, {limit} at once, into `{name}` / a bare pipe|{target}|"
              f"{pipe / feed:.2f} x ({feed:.2f} s, {pipe:.2f} s); CPU {pipe_cpu / feed_cpu:.2f} x "
              f"({feed_cpu:.2f} s, {pipe_cpu:.2f} s)", flush=True)


graph = {"graph": "embedded"}
configure(graph, 1000)
run(plain, "run", "vault_sync", stdout=subprocess.DEVNULL)
marked = run(plain, "dirty", "--json", stdout=subprocess.PIPE).stdout.splitlines(keepends=True)
count = min(blocks, len(marked))
with open(work + "/lines", "wb") as file:
    file.writelines(marked[:count])
# What is over the round number is done before.
surplus = b"".join(marked[count:])
run(plain, "done", "-", input=surplus, stdout=subprocess.DEVNULL)
del marked
shutil.copytree(work + "/state", work + "/kept")


def restore_file():
    shutil.rmtree(work + "/state")
    shutil.copytree(work + "/kept", work + "/state")
    os.sync()


rows("SQLite", plain, restore_file)
if uri:
    env = dict(plain, NEO4J_USER=os.environ["NEO4J_TEST_USER"], NEO4J_PASSWORD=os.environ["NEO4J_TEST_PASSWORD"])
    graph = {"graph": "neo4j", "neo4j": {"uri": uri}}
    configure(graph, 1000)
    shutil.rmtree(work + "/state")
    run(env, "run", "vault_sync", stdout=subprocess.DEVNULL)
    server = dict(os.environ, BOLT_PORT=uri.rsplit(":")[-1])
    first = f"MATCH (b:Block) WHERE b.id IN {[json.loads(line)['id'] for line in surplus.splitlines()]}"

    def mark_again():
        subprocess.run(["tests/neo4j", "query", "MATCH (b:Block) SET b.needs_reprocessing = true",
                        first + " SET b.needs_reprocessing = false"], env=server, check=True, stdout=subprocess.DEVNULL)

    rows("Neo4j", env, mark_again)
P
