#!/usr/bin/env bash
# tools/build.sh [release|debug|asan]: build one preset; the command is then build/PRESET/vmferry.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
tools/install-deps.sh
[ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
