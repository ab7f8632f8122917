#!/usr/bin/env bash
# tools/bench/run.sh [MIB [ROUNDS [xen]]]: the page path against socat, relaying the same bytes on loopback.
#
#     page_path send ─TCP─► relay ─TCP─► page_path receive        relay: socat -b 1048576 | page_path relay
#
# The stream is that of a generated guest of MIB (default 2048), once with all pages used and once with a
# quarter of them; the two relays take turns for ROUNDS (default 5). Printed are the medians: MiB of Xen's stream
# per second as the receiver sees it, the CPU seconds of the relay alone (less disturbed by what else runs),
# and the ratio of the rates.
#
# With "xen" the stream is QEMU's and goes to Xen. Where pages are zero more bytes come out than go in: QEMU sends
# nine for such a page, Xen's format has no way to say it. Printed is then still the guest's memory per second.
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${1:-2048}
rounds=${2:-5}
to=${3:-qemu}
program=build/release/tools/bench/page_path
command -v socat >/dev/null || { echo "run.sh: socat is not installed" >&2; exit 4; }
[ -x "$program" ] || tools/build.sh release >&2
[ -x "$program" ] || cmake --build build/release --target page_path >&2

port=$((20000 + RANDOM % 20000))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# one RELAY USED: carries the stream once; adds to RELAY.seconds the time from first to last byte at the receiver,
# and to RELAY.cpu what the relay used.
TIMEFORMAT='%U %S'
one() {
  local relay=$1 used=$2 in=$port out=$((port + 1)) receiver carrier
  port=$((port + 2))
  "$program" receive --listen "$out" >"$work/result" &
  receiver=$!
  if [ "$relay" = socat ]; then
    { time socat -u -b 1048576 "TCP-LISTEN:$in,bind=127.0.0.1,reuseaddr" \
      "TCP:127.0.0.1:$out,retry=100,interval=0.01"; } 2>"$work/time" &
  else
    { time "$program" relay --listen "$in" --connect "$out" --mib "$mib" --used "$used" --to "$to" 2>"$work/log"; } 2>"$work/time" &
  fi
  carrier=$!
  "$program" send --connect "$in" --mib "$mib" --used "$used" --to "$to"
  wait "$carrier"
  wait "$receiver"
  cut -d' ' -f2 "$work/result" >>"$work/$relay.seconds"
  awk '{ print $1 + $2 }' "$work/time" >>"$work/$relay.cpu"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

printf '%-10s %12s %8s %14s %8s %7s\n' "pages used" "socat MiB/s" "CPU s" "vmferry MiB/s" "CPU s" ratio
for used in 8 2; do
  rm -f "$work"/*.seconds "$work"/*.cpu
  for _ in $(seq "$rounds"); do
    one socat "$used"
    one vmferry "$used"
  done
  awk -v used="$used" -v mib="$mib" \
    -v s="$(median <"$work/socat.seconds")" -v sc="$(median <"$work/socat.cpu")" \
    -v v="$(median <"$work/vmferry.seconds")" -v vc="$(median <"$work/vmferry.cpu")" \
    'BEGIN { printf "%-10s %12.0f %8.2f %14.0f %8.2f %7.2f\n", used " of 8", mib / s, sc, mib / v, vc, s / v }'
done
