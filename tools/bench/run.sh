#!/usr/bin/env bash
# tools/bench/run.sh [MIB [ROUNDS]]: the page path against socat, relaying the same bytes on loopback.
#
#     page_path send ─TCP─► relay ─TCP─► page_path receive        relay: socat -b 1048576 | page_path relay
#
# The stream is that of a generated guest of MIB (default 2048), once with all pages used and once with a
# quarter of them; the two relays take turns for ROUNDS (default 5). Printed is the median of the rates, in
# MiB of Xen's stream per second as the receiver sees it, and their ratio.
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${1:-2048}
rounds=${2:-5}
program=build/release/tools/bench/page_path
command -v socat >/dev/null || { echo "run.sh: socat is not installed" >&2; exit 4; }
[ -x "$program" ] || tools/build.sh release >&2
[ -x "$program" ] || cmake --build build/release --target page_path >&2

port=$((20000 + RANDOM % 20000))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# one RELAY USED: carries the stream once; prints the seconds from first to last byte at the receiver.
one() {
  local relay=$1 used=$2 in=$((port++)) out=$((port++)) receiver carrier
  "$program" receive --listen "$out" >"$work/result" &
  receiver=$!
  if [ "$relay" = socat ]; then
    socat -u -b 1048576 "TCP-LISTEN:$in,bind=127.0.0.1,reuseaddr" "TCP:127.0.0.1:$out,retry=100,interval=0.01" &
  else
    "$program" relay --listen "$in" --connect "$out" --mib "$mib" --used "$used" 2>/dev/null &
  fi
  carrier=$!
  "$program" send --connect "$in" --mib "$mib" --used "$used"
  wait "$carrier"
  wait "$receiver"
  port=$((port + 2))
  cut -d' ' -f2 "$work/result"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

printf '%-22s %14s %14s %8s\n' "pages used" "socat MiB/s" "vmferry MiB/s" ratio
for used in 8 2; do
  : >"$work/socat"; : >"$work/vmferry"
  for _ in $(seq "$rounds"); do
    one socat "$used" >>"$work/socat"
    one vmferry "$used" >>"$work/vmferry"
  done
  awk -v used="$used" -v mib="$mib" -v s="$(median <"$work/socat")" -v v="$(median <"$work/vmferry")" \
    'BEGIN { printf "%-22s %14.0f %14.0f %8.2f\n", used " of 8", mib / s, mib / v, s / v }'
done
