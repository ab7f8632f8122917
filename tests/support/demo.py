#!/usr/bin/env python3
"""The demo behind tools/demo.sh: replays the shipped guest and judges what it prints."""
import argparse
import sys

import captures
import load
import ticks
from replay import Replay


def show(guest, count):
    """Its judge. Raises ticks.Failed."""
    with Replay(guest) as replay:
        print("$ " + " ".join(replay.command), flush=True)
        print(f"The last line that the guest printed under Xen was tick {guest.last_tick}.", flush=True)
        judge = replay.follow(count, show=lambda line: print(f"  guest: {line}", flush=True))
        status = replay.stop()
        if status != 0:
            raise ticks.Failed(f"vmferry ended with {status}\n{replay.words()}")
        print(replay.words(), end="")
        return judge


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=20)
    options = parser.parse_args()
    guest = captures.first()
    load.meter()  # from now on it is measured
    try:
        try:
            judge = show(guest, options.ticks)
        except ticks.Disturbed as reason:
            print(f"demo: once more, as the machine had other work: {reason}", flush=True)
            judge = show(guest, options.ticks)
    except ticks.Failed as reason:
        print(f"demo: FAILED: {reason}", file=sys.stderr)
        return 1
    for line in ticks.Seen.words():
        print(f"load: {line}")
    host, up, date = judge.pace()
    print(f"demo: {len(judge.ticks)} further ticks in {host:.1f} s of the host (guest: up +{up:.1f} s, date +{date} s), "
          "numbering unbroken, same memory and disk, network and all CPUs alive, nothing else on the console")
    return 0


if __name__ == "__main__":
    sys.exit(main())
