#!/usr/bin/env bash
# tools/test.sh [--quick|--matrix]: everything that has to hold. Ends with the line "N passed, M failed" and exits 0 only if M = 0.
#
#     (none)    release build, unit tests, format, clang-tidy, unit tests under ASan and UBSan, end-to-end tests with a
#               real QEMU, the test guests themselves, crossings from a real Xen host (the test bed's), the demo
#     --quick   release build, unit tests, a short demo: within 5 minutes
#     --matrix  release build, then more of the way to Xen, and guests × devices × hosts in the test bed: two hours;
#               writes docs/matrix.md
#
# One step after the other: those that watch clocks (end-to-end, guests, test-bed, demo) have the processors for themselves. Where
# the machine has other work, guests' clocks are judged by how much (what is indented below a step, see docs/testbed.md), and all
# takes longer.
# Each step's output stands in build/test-logs/STEP.log; of a step that fails, its end is shown.
set -uo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
case "$mode" in
  "" | --quick | --matrix) ;;
  *) echo "usage: tools/test.sh [--quick|--matrix]" >&2; exit 2 ;;
esac
logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0
failed=0
failures=()
trap 'trap - INT; kill 0' INT

# step NAME COMMAND…: one check; a step may count for more by ending its output with a line "N passed, M failed".
step() {
  local name=$1 status start=$SECONDS counts p f
  shift
  "$@" >"$logs/$name.log" 2>&1
  status=$?
  counts=$(tail -n 1 "$logs/$name.log" | grep -Eo '^[0-9]+ passed, [0-9]+ failed$' || true)
  if [ -n "$counts" ]; then
    read -r p f <<<"$(tr -dc '0-9 ' <<<"$counts" | tr -s ' ')"
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
  elif [ "$status" -eq 0 ]; then
    p=1 f=0
  else
    p=0 f=1
  fi
  passed=$((passed + p))
  failed=$((failed + f))
  if [ "$f" -eq 0 ]; then
    printf 'ok      %-14s %4d checks, %4d s\n' "$name" "$p" "$((SECONDS - start))"
  else
    printf 'FAILED  %-14s %4d of %d checks, %4d s; the end of %s:\n' "$name" "$f" $((p + f)) "$((SECONDS - start))" "$logs/$name.log"
    tail -n 40 "$logs/$name.log" | sed 's/^/    /'
    failures+=("$name")
  fi
  grep '^load:' "$logs/$name.log" | sed 's/^load:/       /'
  return "$((f > 0))"
}

# What failed is said once more, in short, where nobody has to look for it.
finish() {
  local name
  for name in "${failures[@]}"; do
    echo "what failed in $name:"
    grep -E -A3 '^TEST CASE:|ERROR:|^(FAIL|ERROR): |Failed: |warning: |error: ' "$logs/$name.log" | grep -v '^$' | head -n 30 | sed 's/^/    /'
  done
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}

# Unit tests, a part of a program on each processor: most of their time they wait for a QEMU. Counted by test case; a part
# without test cases has failed. doctest counts what it left out as passed, so those are counted whose duration it tells.
unit() {
  local preset=$1 program parts=() count first part out log status=0 good=0 bad=0 ran f
  out=$logs/unit-$preset
  mkdir -p "$out"
  for program in "build/$preset/tests"/test_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    count=$("$program" --count | grep -Eo '[0-9]+$')
    for ((first = 1; first <= ${count:-1}; first += 50)); do parts+=("$program $first"); done
  done
  [ "${#parts[@]}" -gt 0 ] || { echo "no test programs in build/$preset/tests"; return 1; }
  printf '%s\n' "${parts[@]}" |
    xargs -P "$(nproc)" -L 1 sh -c '"$1" --no-colors=true --duration=true --first="$2" --last=$(($2 + 49)) >"$0/$(basename "$1")-$2.log" 2>&1' "$out" || status=1
  for part in "${parts[@]}"; do
    read -r program first <<<"$part"
    echo "== $program, test cases from $first on"
    log=$out/$(basename "$program")-$first.log
    cat "$log"
    ran=$(grep -Ec '^[0-9.]+ s: ' "$log")
    f=$(grep -E '^\[doctest\] test cases:' "$log" | grep -Eo '[0-9]+ failed' | grep -Eo '[0-9]+')
    [ "$ran" -gt 0 ] && [ -n "$f" ] || f=$((${f:-0} + 1))
    good=$((good + (ran > f ? ran - f : 0)))
    bad=$((bad + f))
  done
  echo "$good passed, $bad failed"
  [ "$status" -eq 0 ] && [ "$bad" -eq 0 ]
}

format() {
  local sources
  mapfile -d '' -t sources < <(git ls-files -z '*.cpp' '*.hpp')
  [ "${#sources[@]}" -gt 0 ] || { echo "no sources"; return 1; }
  clang-format --dry-run --Werror "${sources[@]}"
}

step install tools/install-deps.sh || finish
step build tools/build.sh release || finish
if [ "$mode" = --matrix ]; then
  step more-to-xen python3 tests/run.py e2e build/release/vmferry more_to_xen
  step matrix python3 tests/e2e/matrix.py build/release/vmferry --document docs/matrix.md
  finish
fi
step unit unit release
if [ "$mode" = --quick ]; then
  step demo tools/demo.sh --short
  finish
fi
step format format
step tidy python3 tools/lint/tidy.py build/release
step build-asan tools/build.sh asan unit_tests && step unit-asan unit asan
step end-to-end python3 tests/run.py tools build/release/vmferry
step guests python3 tests/run.py guests build/release/vmferry
step test-bed python3 tests/run.py e2e build/release/vmferry
step demo tools/demo.sh
finish
