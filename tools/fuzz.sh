#!/usr/bin/env bash
# Runs every fuzz target of build/fuzz for SECONDS and writes one JUnit line each: fuzz.sh SECONDS RESULTS_FOLDER [TARGET...]
# New inputs stay in RESULTS_FOLDER/corpus; what crashes is kept in RESULTS_FOLDER/crashes and printed.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=$1 results=$2
shift 2
mkdir -p "$results/crashes"
report=$results/fuzz.xml
status=0
cases=""
for program in "$root"/build/fuzz/fuzz/fuzz_*; do
    name=$(basename "$program")
    name=${name#fuzz_}
    if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$name"; then continue; fi
    grown=$results/corpus/$name
    mkdir -p "$grown"
    log=$results/fuzz-$name.log
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$results/crashes/$name-" "$grown" "$root/tests/fuzz/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz $name: ${runs:-0} runs in ${seconds} s, no finding"
        cases+="<testcase name=\"fuzz $name\" status=\"run\"/>"
    else
        echo "fuzz $name: FAILED, input kept in $results/crashes" >&2
        tail -n 40 "$log" >&2
        cases+="<testcase name=\"fuzz $name\" status=\"fail\"><failure/></testcase>"
        status=1
    fi
done
echo "<testsuite>$cases</testsuite>" >"$report"
exit $status
