#!/usr/bin/env bash
# The long tests, for a release or a night; dated results belong into docs/test-long.md.
#
#   tools/test-long.sh [STEP...]    steps: differential asan tsan tidy kernels fuzz soak chaos skew repeat; all of them when none is named
#
#   differential   ten million random (policy set, connection) pairs through the engine and the naive evaluator (about 5 minutes)
#   asan, tsan     every unit and kernel test under the address and undefined behaviour, then the thread sanitizer
#   tidy           clang-tidy over the whole tree (tools/tidy.sh)
#   soak           mixed load with churn of policies, workloads, pods and certificates for SOAK_SECONDS (default 1800) each: the
#                  address sanitizer, the thread sanitizer, and the plain build, whose memory may not grow
#   kernels        Debian's 6.1 and 6.12 kernels under qemu: agent and tunnel end to end, and all of tests/bpf
#   fuzz           every fuzz target for FUZZ_SECONDS (default 600) each, two at a time
#   chaos          tests/lab's upgrades and shortages, an agent killed 100 times and a controller away for minutes, CHAOS_ROUNDS (default 10) times
#   skew           agent, tunnel and controller of another release (SKEW_REF, a commit; default: the newest tag) beside and after this one's
#   repeat         the full test list REPEATS (default 10) times in a row, JOBS (default: one a core) at once, each with its counts: none may fail once
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tools/install_packages.sh
results=$root/build/results-long
mkdir -p "$results"
status=0
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(differential asan tsan tidy kernels fuzz soak chaos skew repeat)

build() {
    cmake --preset "$1" >"$results/configure-$1.log" || { cat "$results/configure-$1.log"; exit 1; }
    shift
    cmake --build --preset "$@"
}

for step in "${steps[@]}"; do
    began=$(date +%s)
    case $step in
        differential)
            build dev dev --target rbac_differential_long
            build/dev/tests/rbac_million 10000000 || status=1
            ;;
        asan | tsan)
            build "$step" "$step"
            ctest --preset "$step" -j "$(nproc)" --output-junit "$results/$step.xml" || status=1
            ;;
        tidy)
            build dev dev
            tools/tidy.sh | tee "$results/tidy.txt" || status=1
            ;;
        kernels)
            build dev dev --target warren-agent warren-ztunnel bpf_test
            tests/kernels/run.sh | tee "$results/kernels.txt" || status=1
            ;;
        fuzz)
            build fuzz fuzz --target fuzz_targets
            ls build/fuzz/fuzz | sed 's/^fuzz_//' |
                xargs -P "$(nproc)" -I{} tools/fuzz.sh "${FUZZ_SECONDS:-600}" "$results/fuzz-{}" {} || status=1
            ;;
        soak)
            for preset in asan tsan dev; do
                build "$preset" "$preset" --target warren-ztunnel
                memory=()
                [ "$preset" = dev ] && memory=(--memory)
                WARREN_ZTUNNEL=$root/build/$preset/bin/warren-ztunnel python3 -B tests/mesh/soak.py --seconds "${SOAK_SECONDS:-1800}" "${memory[@]}" |
                    tee "$results/soak-$preset.txt" || status=1
            done
            ;;
        chaos)
            build dev dev --target warren warren-agent warren-ztunnel warren-controller
            for round in $(seq "${CHAOS_ROUNDS:-10}"); do
                for file in upgrade_test.py chaos_test.py; do
                    WARREN_LONG=1 WARREN_BIN=$root/build/dev/bin WARREN_TESTS_FOLDER=$root/tests/lab \
                        python3 -B tests/mesh/run.py "$file" 2>&1 | tee "$results/chaos-$round-$file.txt" || status=1
                done
            done
            ;;
        skew)
            programs=(warren warren-agent warren-ztunnel warren-controller)
            build dev dev --target "${programs[@]}"
            other=$root/build/other-release
            ref=${SKEW_REF:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
            [ -n "$ref" ] || { echo "skew: there is no tag yet; name a commit in SKEW_REF that knows the lab's settings" >&2; exit 2; }
            git worktree remove --force "$other" 2>/dev/null || true
            git worktree add --detach "$other" "$ref"
            (cd "$other" && cmake --preset dev >"$results/configure-skew.log" && cmake --build --preset dev --target "${programs[@]}")
            WARREN_BIN=$root/build/dev/bin WARREN_OTHER_BIN=$other/build/dev/bin WARREN_TESTS_FOLDER=$root/tests/lab \
                python3 -B tests/mesh/run.py skew.py 2>&1 | tee "$results/skew.txt" || status=1
            git worktree remove --force "$other"
            ;;
        repeat)
            tests/mesh/peers.sh >/dev/null
            tests/agent/xds/peers.sh >/dev/null
            build dev dev
            for ((run = 1; run <= ${REPEATS:-10}; run++)); do
                folder=$results/repeat-$run
                rm -rf "$folder"
                mkdir "$folder"
                # The counts are what decides; ctest's own log is for whoever asks what failed.
                ctest --preset dev -j "${JOBS:-$(nproc)}" --output-junit "$folder/dev.xml" >"$folder/ctest.log" 2>&1 || true
                echo "run $run of ${REPEATS:-10}: $(tools/count_results.py "$folder" | tee "$folder/counts.txt" | tail -1)"
                if grep '^failed: ' "$folder/counts.txt" || ! tail -1 "$folder/counts.txt" | grep -q ' 0 failed,'; then status=1; fi
            done
            ;;
        *)
            echo "test-long.sh: no step \"$step\"; steps are differential, asan, tsan, tidy, kernels, fuzz, soak, chaos, skew, repeat" >&2
            exit 2
            ;;
    esac
    echo "== $step: $(($(date +%s) - began)) s, $(date -u +%F)"
done
exit $status
