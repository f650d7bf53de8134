#!/usr/bin/env bash
# Formats our sources with the pinned clang-format: format.sh, or format.sh --check (changes nothing, exits 1 if something would change).
set -euo pipefail
cd "$(dirname "$0")/.."
args=(-i)
[ "${1:-}" != --check ] || args=(--dry-run -Werror)
git ls-files -co --exclude-standard -- '*.h' '*.cpp' '*.c' | xargs -r clang-format-19 "${args[@]}"
