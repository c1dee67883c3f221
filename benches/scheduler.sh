#!/bin/sh
# What scheduling costs: memory and CPU of an idle daemon, memory with many jobs, and how soon runs begin when all of
# them are due in the same second.
#
#   benches/scheduler.sh [JOBS] [MINUTES]      default: 1000 jobs, 3 minutes
#
# Wants cargo, curl and a quiet machine; measures idle and busy for MINUTES each. Every figure is memory, CPU time, or a time
# between two points inside one process. Prints rows of a table: number, what, target, measured.
# CARGO_BUILD_TARGET=x86_64-unknown-linux-musl measures the static build.
set -eu
jobs=${1:-1000}
minutes=${2:-3}
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin aclarai-scheduler --example idle_jobs
target=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
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

# start BINARY NAME [OPTION...]: runs the daemon on its own state folder until it says that it has started.
start() {
    program=$1 name=$2
    shift 2
    "$program" --config "$work/$name.yaml" --state-dir "$work/$name" --log-format json serve "$@" 2>"$work/$name.log" &
    daemon=$!
    until grep -qs '"message":"started"' "$work/$name.log"; do
        kill -0 "$daemon" 2>/dev/null || { cat "$work/$name.log" >&2; exit 1; }
        sleep 0.2
    done
}

stop() { kill "$daemon"; wait "$daemon" || :; daemon=; }

resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status"; }
resident() { awk "BEGIN { printf \"%.1f MB\", $(resident_kb) * 1.024 / 1000 }"; }

# beyond KILOBYTES: how much more is resident now.
beyond() { awk "BEGIN { printf \"%+.2f MB\", ($(resident_kb) - $1) * 1.024 / 1000 }"; }

# All threads' CPU time in microseconds, by the kernel's own count.
cpu_us() { cat "/proc/$daemon/task/"*/schedstat | awk '{ n += $1 } END { printf "%d", n / 1000 }'; }

# idle_us: the CPU time of the daemon in MINUTES.
idle_us() {
    before=$(cpu_us)
    sleep $((minutes * 60))
    echo $(($(cpu_us) - before))
}

write_config '0 3 1 1 *' true 0 >"$work/idle.yaml"
start "$target/aclarai-scheduler" idle
sleep 5
alone_us=$(idle_us)
alone_kb=$(resident_kb)
echo "P7|resident memory of an idle daemon|<= 5 MB|$(resident)"
echo "P8|CPU of an idle daemon in a minute|<= 0.3 ms|$(awk "BEGIN { printf \"%.2f\", $alone_us / 1000 / $minutes }") ms"
stop

# The same with the page, which nobody looks at, and then with one look at it behind.
start "$target/aclarai-scheduler" idle --listen "unix:$work/http.sock"
get() { curl --silent --fail --output /dev/null --unix-socket "$work/http.sock" "http://localhost$1"; }
sleep 5
open_us=$(idle_us)
echo "P16|resident memory with --listen, nobody asks|<= +0.6 MB|$(beyond "$alone_kb")"
echo "P16|its CPU in a minute|+0|$(awk "BEGIN { printf \"%+.2f\", ($open_us - $alone_us) / 1000 / $minutes }") ms"
get /
get /metrics
sleep 15
echo "P16|resident memory with --listen, after one look||$(beyond "$alone_kb")"
stop

write_config '0 3 1 1 *' false "$jobs" >"$work/busy.yaml"
start "$target/examples/idle_jobs" busy
sleep $((minutes * 60))
echo "P7|resident memory with $jobs jobs, all of them run each minute|<= 6.5 MB|$(resident)"
stop
"$target/examples/idle_jobs" --config "$work/busy.yaml" --state-dir "$work/busy" history -n 100000000 --json |
    tr ',' '\n' | sed -n 's/.*"queue_wait[^:]*": *\([0-9.e-]*\).*/\1/p' | sort -g |
    awk -v jobs="$jobs" '{ v[NR] = $1 } END {
        if (NR == 0) { print "no runs" >"/dev/stderr"; exit 1 }
        p = int(NR * 0.99); if (p < 1) p = 1
        printf "P9|%d jobs due in the same second, decision durable to run started, 99th percentile of %d runs|<= 1 ms|%.2f ms\n", jobs, NR, v[p] * 1000 }'

start "$target/examples/idle_jobs" busy --listen "unix:$work/http.sock"
sleep 30
before=$(cpu_us)
for _ in 1 2 3 4 5 6 7 8 9 10; do get /metrics; done
after=$(cpu_us)
echo "P16|CPU of /metrics with $jobs jobs, mean of 10|<= 5 ms|$(awk "BEGIN { printf \"%.2f\", ($after - $before) / 10000 }") ms"
before=$after
get /
echo "P16|CPU of / with $jobs jobs||$(awk "BEGIN { printf \"%.1f\", ($(cpu_us) - $before) / 1000 }") ms"
stop
