#!/usr/bin/env python3
"""The demo behind tools/demo.sh: replays the shipped guest and judges what it prints."""
import argparse
import sys

import captures
import ticks
from replay import Replay


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=20)
    options = parser.parse_args()
    guest = captures.first()
    with Replay(guest) as replay:
        print("$ " + " ".join(replay.command), flush=True)
        print(f"The last line that the guest printed under Xen was tick {guest.last_tick}.", flush=True)
        try:
            judge = replay.follow(options.ticks, show=lambda line: print(f"  guest: {line}", flush=True))
            status = replay.stop()
            if status != 0:
                raise ticks.Failed(f"vmferry ended with {status}\n{replay.words()}")
        except ticks.Failed as reason:
            print(f"demo: FAILED: {reason}", file=sys.stderr)
            return 1
        print(replay.words(), end="")
    host, up, date = judge.pace()
    print(f"demo: {len(judge.ticks)} further ticks in {host:.1f} s of the host (guest: up +{up:.1f} s, date +{date} s), "
          "numbering unbroken, same memory and disk, network and all CPUs alive, nothing else on the console")
    return 0


if __name__ == "__main__":
    sys.exit(main())
