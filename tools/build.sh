#!/usr/bin/env bash
# tools/build.sh [release|debug|asan [TARGET...]]: build one preset, or some targets of it (unit_tests); the command is
# then build/PRESET/vmferry.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
targets=("${@:2}")
tools/install-deps.sh
[ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" ${targets:+--target "${targets[@]}"}
