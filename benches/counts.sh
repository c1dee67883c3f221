#!/bin/bash
# Guards the speed by counts that do not wobble: instructions and allocations (valgrind), and calls of the system about files
# (strace), of a few commands of the program that the tests use, on one processor and on a vault made here.
#
#   benches/counts.sh           fails where a count is more than 5 % above that of benches/counts.tsv
#   benches/counts.sh --renew   writes that file anew: after a change that is worth its price, or that made something cheaper
#
# Takes a minute. The instructions and allocations are those of one compiler, which the file names: with another one only the
# calls are compared. Ends with 77 where valgrind or strace is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
baseline=benches/counts.tsv
for tool in valgrind strace taskset; do
    command -v $tool >/dev/null || { echo "skipped: $tool is missing"; exit 77; }
done
cargo build --quiet --bin aclarai-scheduler
program=$(packaging/target-folder)/debug/aclarai-scheduler
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiler=$(rustc --version)

# 60 notes of 18 blocks, in four folders; not edited a moment ago, which would have a sync wait.
mkdir -p "$work/vault/"{a,b,c,d}
awk -v vault="$work/vault" 'BEGIN {
    split("the graph keeps what notes say and a sync finds out which of them have changed since — or moved, naïvely", word, " ")
    for (f = 0; f < 60; f++) {
        file = sprintf("%s/%s/note-%02d.md", vault, substr("abcd", f % 4 + 1, 1), f)
        print "# Note " f "\n" >file
        for (b = 0; b < 18; b++) {
            for (w = 0; w < 60; w++) printf "%s ", word[(f * 7 + b * 3 + w * w) % 19 + 1] >file
            printf "<!-- aclarai:id=blk_%06d ver=1 -->\n^blk_%06d\n\n", f * 18 + b, f * 18 + b >file
        }
        close(file)
    }
}'
find "$work/vault" -exec touch -d '2026-01-01 00:00' {} +
# The time of the last change of a file cannot be set back: a sync reads notes that are younger than two seconds twice.
sleep 4
printf 'paths: {vault: %s}\nscheduler: {jobs: {vault_sync: {cron: "0 3 * * *"}}}\n' "$work/vault" >"$work/config.yaml"

# run TOOL... -- ARGUMENT...: the program under a tool, with nothing of this shell's surroundings.
run() {
    local tool=()
    while [ "$1" != -- ]; do tool+=("$1"); shift; done
    shift
    (cd "$work" && env -i PATH="$PATH" HOME="$work" TZ=UTC taskset -c 0 "${tool[@]}" "$program" \
        --config config.yaml --state-dir state --log-level ERROR "$@" >out 2>err) || { cat "$work/err" >&2; exit 1; }
}
# Linux tells a program by prctl(2) of a page of its own that is not there under valgrind: there, prctl is not to be had.
valgrind=(strace -f -qq --seccomp-bpf -o /dev/null -e trace=prctl -e inject=prctl:error=EINVAL valgrind)
# count NAME ARGUMENT...: a line for each thing that is counted. BEFORE is done before each run.
count() {
    local name=$1 number
    shift
    $before
    run "${valgrind[@]}" --tool=callgrind --callgrind-out-file=/dev/null -- "$@"
    number=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/err")
    printf '%s\tinstructions\t%s\n' "$name" "$number"
    $before
    run "${valgrind[@]}" --tool=dhat --dhat-out-file=/dev/null -- "$@"
    number=$(sed -n 's/.*Total: .* in \([0-9,]*\) blocks.*/\1/p' "$work/err" | tr -d ,)
    printf '%s\tallocations\t%s\n' "$name" "$number"
    $before
    run strace -f -qq -c -o calls -e trace=%file,%desc -- "$@"
    number=$(awk '$NF == "total" { print $4 }' "$work/calls")
    printf '%s\tcalls\t%s\n' "$name" "$number"
}
forget() { rm -rf "$work/state"; }

{
    before=forget
    count 'first sync' run vault_sync
    before=:
    count 'unchanged sync' run vault_sync
    count next next vault_sync
    count blocks blocks vault/a/note-00.md
} >"$work/counts"
[ "$(grep -c '[0-9]$' "$work/counts")" = 12 ] || { echo "a tool counted nothing:"; cat "$work/counts"; exit 1; }

if [ "${1:-}" = --renew ]; then
    { printf '# %s; made by benches/counts.sh --renew\n' "$compiler"; cat "$work/counts"; } >"$baseline"
    cat "$baseline"
    exit
fi
grep -qF "$compiler" "$baseline" || echo "only calls are compared: the counts are of another compiler than $compiler"
awk -F'\t' -v compiler="$compiler" '
    FNR == NR && /^#/ { same = index($0, compiler) > 0; next }
    FNR == NR { before[$1 FS $2] = $3; next }
    {
        was = before[$1 FS $2]
        verdict = "ok"
        if (was == "") { verdict = "not in the baseline"; bad = 1 }
        else if (!same && $2 != "calls") verdict = "not compared"
        else if ($3 > was * 1.05) { verdict = "MORE THAN 5 % ABOVE"; bad = 1 }
        else if ($3 < was * 0.9) verdict = "cheaper: renew the baseline"
        printf "%-16s %-14s %12s, before %12s  %s\n", $1, $2, $3, was, verdict
    }
    END {
        if (bad) print "where that is the price of something worth it: benches/counts.sh --renew, and say why in the commit"
        exit bad
    }' "$baseline" "$work/counts"
