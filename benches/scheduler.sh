#!/bin/sh
# What scheduling costs: memory and CPU of an idle daemon, memory with many jobs, and how soon runs begin when all of
# them are due in the same second.
#
#   benches/scheduler.sh [JOBS] [MINUTES]      default: 1000 jobs, 3 minutes
#
# Wants cargo and a quiet machine; measures idle and busy for MINUTES each. Every figure is memory, CPU time, or a time between two
# points inside one process.
set -eu
jobs=${1:-1000}
minutes=${2:-3}
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin aclarai-scheduler --example idle_jobs
target=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
daemon=
trap 'test -z "$daemon" || kill "$daemon" 2>/dev/null || :; rm -rf "$work"' EXIT
mkdir "$work/vault"

# write_config EXPRESSION ENABLED COUNT
write_config() {
    printf 'paths: {vault: %s}\nscheduler:\n  jobs:\n    vault_sync: {enabled: %s, cron: "%s"}\n' "$work/vault" "$2" "$1"
    awk -v n="$3" 'BEGIN { for (i = 1; i <= n; i++)
        printf "    job_%06d: {kind: idle, enabled: true, cron: \"* * * * *\", description: \"Job %d\"}\n", i, i }'
}

# start BINARY NAME: runs the daemon on its own state folder until it says that it has started.
start() {
    "$1" --config "$work/$2.yaml" --state-dir "$work/$2" --log-format json serve 2>"$work/$2.log" &
    daemon=$!
    until grep -q '"message":"started"' "$work/$2.log"; do
        kill -0 "$daemon" 2>/dev/null || { cat "$work/$2.log" >&2; exit 1; }
        sleep 0.2
    done
}

resident() { awk '/^VmRSS/ { printf "%.1f MB", $2 / 1024 }' "/proc/$daemon/status"; }

# All threads' CPU time in microseconds, by the scheduler's own count.
cpu_us() { cat "/proc/$daemon/task/"*/schedstat | awk '{ n += $1 } END { printf "%d", n / 1000 }'; }

write_config '0 3 1 1 *' true 0 >"$work/idle.yaml"
start "$target/aclarai-scheduler" idle
sleep 20
before=$(cpu_us)
sleep $((minutes * 60))
after=$(cpu_us)
echo "idle daemon: $(resident) resident (target 6), $(( (after - before) / minutes )) us CPU a minute (target 500)"
kill "$daemon"; wait "$daemon" || :; daemon=

write_config '0 3 1 1 *' false "$jobs" >"$work/busy.yaml"
start "$target/examples/idle_jobs" busy
sleep $((minutes * 60))
echo "$jobs jobs each minute: $(resident) resident (target 8 for 1000)"
kill "$daemon"; wait "$daemon" || :; daemon=
"$target/examples/idle_jobs" --config "$work/busy.yaml" --state-dir "$work/busy" history -n 100000000 --json |
    tr ',' '\n' | sed -n 's/.*"queue_wait[^:]*": *\([0-9.e-]*\).*/\1/p' | sort -g |
    awk '{ v[NR] = $1 } END {
        if (NR == 0) { print "no runs"; exit 1 }
        p = int(NR * 0.99); if (p < 1) p = 1
        printf "%d runs, decision durable to run started: median %.2f ms, 99th percentile %.2f ms (target 5), longest %.2f ms\n",
            NR, v[int((NR + 1) / 2)] * 1000, v[p] * 1000, v[NR] * 1000 }'
