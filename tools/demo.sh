#!/usr/bin/env bash
# tools/demo.sh [--short]: a recorded guest leaves Xen and goes on in the stock QEMU, before your eyes.
#
# Builds vmferry, replays captures/xen-4.17-linux-2vcpu-e1000-ide into `qemu-system-x86_64 -accel tcg`, and prints the
# guest's own lines. Exits 0 only after 20 further ticks (--short: 8) with unbroken numbering, the same memory checksum
# and disk hash, a live network, both CPUs, clocks at the host's pace, and no other word on the guest's console.
set -euo pipefail
cd "$(dirname "$0")/.."
ticks=20
case "${1:-}" in
  --short) ticks=8 ;;
  "") ;;
  *) echo "usage: tools/demo.sh [--short]" >&2; exit 2 ;;
esac
tools/build.sh release
exec python3 tests/support/demo.py --ticks "$ticks"
