#!/usr/bin/env bash
# tools/test.sh [--quick|--full]: everything that has to hold. Ends with the line "N passed, M failed" and exits 0 only if M = 0.
#
#     --quick   release build, unit tests, a short demo: within 5 minutes
#     (none)    and: format, end-to-end tests with a real QEMU, the whole demo
#     --full    and: clang-tidy, unit tests under ASan and UBSan
#
# Each step's output stands in build/test-logs/STEP.log; of a step that fails, its end is shown.
set -uo pipefail
cd "$(dirname "$0")/.."
quick=false full=false
case "${1:-}" in
  --quick) quick=true ;;
  --full) full=true ;;
  "") ;;
  *) echo "usage: tools/test.sh [--quick|--full]" >&2; exit 2 ;;
esac
logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0
failed=0

# step NAME COMMAND…: one check; a step may count for more by ending its output with a line "N passed, M failed".
step() {
  local name=$1 start=$SECONDS status counts p f
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
    printf 'ok      %-14s %4d checks, %4d s\n' "$name" "$p" $((SECONDS - start))
  else
    printf 'FAILED  %-14s %4d of %d checks, %4d s; the end of %s:\n' "$name" "$f" $((p + f)) $((SECONDS - start)) "$logs/$name.log"
    tail -n 40 "$logs/$name.log" | sed 's/^/    /'
  fi
  return "$((f > 0))"
}

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}

# Unit tests, counted by test case.
unit() {
  local preset=$1 program status=0 good=0 bad=0 ran=0 out line
  for program in build/"$preset"/tests/test_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    ran=1
    out=$("$program" --no-colors=true 2>&1) || status=1
    echo "== $program"
    echo "$out"
    line=$(grep -E '^\[doctest\] test cases:' <<<"$out") || { bad=$((bad + 1)); continue; }
    good=$((good + $(grep -Eo '[0-9]+ passed' <<<"$line" | grep -Eo '[0-9]+')))
    bad=$((bad + $(grep -Eo '[0-9]+ failed' <<<"$line" | grep -Eo '[0-9]+')))
  done
  [ "$ran" -eq 1 ] || { echo "no test programs in build/$preset/tests"; return 1; }
  echo "$good passed, $bad failed"
  return "$status"
}

format() {
  git ls-files -z '*.cpp' '*.hpp' | xargs -0 clang-format --dry-run --Werror
}

step install tools/install-deps.sh || finish
step build tools/build.sh release || finish
step unit unit release
if $quick; then
  step demo tools/demo.sh --short
  finish
fi
step format format
if $full; then
  step build-asan tools/build.sh asan && step unit-asan unit asan
  step tidy python3 tools/lint/tidy.py build/release
fi
step end-to-end python3 tests/tools/run.py build/release/vmferry
step demo tools/demo.sh
finish
