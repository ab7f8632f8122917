#!/usr/bin/env python3
"""What crosses: guests × devices × hosts, each really run. matrix.py build/PRESET/vmferry [--only TEXT]… [--document FILE]

A row (matrix_rows.py) says what has to come of it: the guest goes on in the destination, or the audit refuses it by this rule and
it goes on at the source, or something is gone on the way and it runs where cuts.py and cuts_to_xen.py say. A guest that crosses and then
misbehaves, or that is refused for another reason, is a failure. What came of each row is kept under build/testbed/matrix, so
that rows can be run in pieces (--only); --document writes down what came of all rows when each was last run, and the differences
in the witness's reports with their reasons. Of a row that was not run from this checkout it keeps what it said before, and of
witnesses the differences.
"""
import argparse
import datetime
import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = map(str, (HERE, HERE.parent / "support", HERE.parent / "guests", ROOT / "tools" / "testbed"))
import load  # noqa: E402
import ticks  # noqa: E402


def say(text):
    print(text, flush=True)


def keep(row, came):
    row.kept.parent.mkdir(parents=True, exist_ok=True)
    row.kept.write_text(json.dumps({"came": came, "day": datetime.date.today().isoformat(),
                                    "differences": getattr(row.guest, "differences", ())}))


def difference_row(item):
    """One reason, with the values that it explains and the first of them."""
    reason, values = item
    keys = sorted(values)
    named = f"`{keys[0]}`" if len(keys) == 1 else f"`{keys[0]}` … `{keys[-1]}` ({len(keys)})"
    before, after = values[keys[0]][0]
    return f"| {reason} | {named} | {before} → {after} |"


def earlier(text):
    """What a document says of its rows: their words → (what came of it, day); and of differences: reason → line."""
    lines = {line: [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")}
    rows = {f"{cells[0]} → {cells[1]}: {cells[2]}": tuple(cells[3:]) for cells in lines.values() if len(cells) == 5}
    return rows, {cells[0]: line for line, cells in lines.items() if len(cells) == 3 and cells[0] != "reason"}


def document(rows, before):
    """`before`: the text of the last one."""
    said, explained = earlier(before)
    tables, differences, used = {}, {}, set()
    all_witnesses = True
    for row in rows:
        if row.kept.exists():
            kept = json.loads(row.kept.read_text())
        else:
            came, day = said.get(row.words, ("not run", ""))
            kept = {"came": came, "day": day, "differences": []}
            all_witnesses = all_witnesses and not row.what.startswith("witness")
        tables.setdefault(row.table, []).append(
            f"| {row.source} | {row.destination} | {row.what} | {kept['came']} | {kept['day']} |")
        for key, before, after, reason in kept["differences"]:
            differences.setdefault(reason, {}).setdefault(key, []).append((before, after))
        used |= row.hosts
    # Some of the rows explain less than all of them did.
    explained = {item[0]: difference_row(item) for item in differences.items()} | ({} if all_witnesses else explained)
    return "\n".join([
        "# What crosses, as measured", "",
        "Written by `tests/e2e/matrix.py` (`tools/test.sh --matrix`) from what it ran; nothing here is by hand. \"tcg\" is the",
        "testing machine's own QEMU, the others are hosts of [the test bed](testbed.md).", "",
        "## From Xen to QEMU", "",
        "A guest is booted under a stock Xen, sent by a stock `xl migrate`, and watched in the destination. \"Tick 17 → 18 …",
        "40\": the last one under Xen, the first and the last one seen in QEMU; \"clock ×\": the rate of its clock against the",
        "host's.", "",
        "| from | to | guest | what came of it | day |", "|---|---|---|---|---|", *tables["to QEMU"], "",
        "## From QEMU to Xen", "",
        "A guest is booted under a stock QEMU, sent by its `migrate tcp:`, taken by a stock `xl migrate-receive`, and watched",
        "under Xen for a minute or more: memory, disk, network, both clocks, and no word of its kernel. \"Lines excused\": with",
        "two vCPUs on an emulated Xen host's one processor, or from a second emulated host, a guest may say what is listed,",
        "with reasons, in `tests/support/ticks.py`; the guest that was born there is judged in the same way.", "",
        "| from | to | guest | what came of it | day |", "|---|---|---|---|---|", *tables["to Xen"], "",
        "## Where something was gone on the way", "",
        "After each, both ends were asked who runs: just one, or none, until the operator decided. What has to come of it:",
        "[the handover](handover.md).", "",
        "| from | to | what | what came of it | day |", "|---|---|---|---|---|", *tables["cut"], *tables["cut to Xen"], "",
        "## What the witness saw change", "",
        "It compares every register, and all that it can read of each device. These are all the values that differ after any",
        "of its crossings above that ended well; that each differs just so is checked (`tests/guests/witness_report.py`).", "",
        "| reason | values | for example |", "|---|---|---|", *(explained[reason] for reason in sorted(explained)), "",
        "## Versions", "", *(f"- {text}" for text in versions(sorted(used))), ""])


def versions(hosts):
    """Of the programs on both sides."""
    from image import Image
    from hosts import HOSTS
    found = []
    for name in hosts:
        image = Image(HOSTS[name])
        packages = ["xen-utils-" + image.host.xen, "qemu-system-xen"] if image.host.xen else ["qemu-system-x86"]
        found.append(f"{name}: " + ", ".join(f"{package} {image.version(package)}" for package in packages))
    return found


def run(row, number, hosts):
    """Once more, if only a rule on clocks did not hold while the machine had other work."""
    for last in (False, True):
        hosts.end_but(row.hosts)
        try:
            return row.run(number, hosts)
        except Exception as error:
            if last or not ticks.is_disturbed(error):
                raise
            say(f"{row.words}: once more, as the machine had other work: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vmferry")
    parser.add_argument("--only", action="append", help="rows in whose words this occurs")
    parser.add_argument("--document", type=pathlib.Path, help="where what came of it is written")
    options = parser.parse_args()
    os.environ["VMFERRY"] = str(pathlib.Path(options.vmferry).resolve())
    # Only now, as they take over where vmferry is.
    from matrix_hosts import Hosts
    import matrix_rows
    load.meter()  # from now on it is measured
    rows = list(matrix_rows.rows())
    hosts = Hosts(os.environ["VMFERRY"], say)
    failed, passed = 0, 0
    try:
        for number, row in enumerate(rows):
            if not any(text in row.words for text in options.only or [""]):
                continue
            start = time.monotonic()
            try:
                came = run(row, number, hosts)
                passed += 1
            except Exception as error:  # a row that fails says so, and the next one is run
                came = f"**failed**: {type(error).__name__}: {error}"
                failed += 1
            say(f"{row.words}: {came} ({time.monotonic() - start:.0f} s)")
            keep(row, came.splitlines()[0][:300])
    finally:
        hosts.close()
    if options.document:
        before = options.document.read_text() if options.document.exists() else ""
        options.document.write_text(document(rows, before))
    for line in ticks.Seen.words():
        say(f"load: {line}")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
