#!/usr/bin/env bash
# Runs the pinned clang-tidy with the checks of .clang-tidy over our sources: tidy.sh [PATH...], for example tidy.sh base policy/route.cpp;
# the whole tree when nothing is named. It reads build/dev/compile_commands.json (WARREN_TIDY_BUILD names another build folder), so that
# preset has to be configured, and built once for the generated headers.
# Exit code 1 when a check has something to say.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${WARREN_TIDY_BUILD:-build/dev}
[ -f "$build/compile_commands.json" ] || { echo "tidy.sh: $build/compile_commands.json is missing; configure: cmake --preset dev" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 - "$build/compile_commands.json" "$place" "$@" <<'END'
import json, os, sys
commands, place, wanted = json.load(open(sys.argv[1], encoding="utf-8")), sys.argv[2], [os.path.normpath(p) for p in sys.argv[3:]]
files = []
for command in commands:
    path = os.path.relpath(os.path.join(command["directory"], command["file"]))
    if path.startswith((os.pardir, "build" + os.sep)) or not path.endswith(".cpp"):
        continue
    if not wanted or any(path == w or path.startswith(w + os.sep) for w in wanted):
        files.append(os.path.abspath(path))
json.dump(commands, open(os.path.join(place, "compile_commands.json"), "w", encoding="utf-8"))
open(os.path.join(place, "files"), "w", encoding="utf-8").write("".join(f"{f}\n" for f in sorted(set(files))))
END
[ -s "$place/files" ] || { echo "tidy.sh: no source of $build is under: $*" >&2; exit 2; }
echo "clang-tidy over $(wc -l <"$place/files") files" >&2
xargs -P "${TIDY_JOBS:-$(nproc)}" -n 1 clang-tidy-19 --quiet -p "$place" --extra-arg=-Wno-unknown-warning-option --extra-arg=-Qunused-arguments <"$place/files"
