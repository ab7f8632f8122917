#!/usr/bin/env python3
"""clang-tidy over the project's own sources, two at a time, remembering what was clean.

    tools/lint/tidy.py build/PRESET [FILE...]

A source is checked again only when it, a project header that it includes, its compile command or a .clang-tidy has
changed: the key is a hash over all of these, kept under build/tidy-cache. Exits 1 if anything was found.

Precompiled headers are g++'s own; clang-tidy reads the sources without them, from commands of its own in build/tidy.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIDY = "clang-tidy-19"
FOLDERS = ("parsers", "translators", "proxy", "tools", "tests")
CONFIGURATIONS = (str(ROOT / ".clang-tidy"), str(ROOT / "tests" / ".clang-tidy"))
# A guest without any operating system lives by fixed addresses and casts.
FREESTANDING = os.path.join("tests", "guests")
COMMANDS = ROOT / "build" / "tidy"
CLEAN = ROOT / "build" / "tidy-cache"


def without_precompiled(command):
    words = shlex.split(command)
    kept = []
    while words:
        word = words.pop(0)
        if word == "-include" and words[0].endswith("/cmake_pch.hxx"):
            words.pop(0)
        elif word not in ("-Winvalid-pch", "-fpch-preprocess"):
            kept.append(word)
    return shlex.join(kept)


def included(build):
    """source → project headers, from the dependencies that ninja recorded while building."""
    log = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], capture_output=True, text=True, check=True).stdout
    headers = {}
    for block in log.split("\n\n"):
        lines = block.strip().splitlines()
        if len(lines) < 2:
            continue
        files = [os.path.normpath(os.path.join(build, line.strip())) for line in lines[1:]]
        own = [file for file in files if file.startswith(str(ROOT) + os.sep)]
        if own:
            headers[own[0]] = sorted(own)
    return headers


def key(source, command, headers, cache={}):
    digest = hashlib.sha256(command.encode())
    for file in [*CONFIGURATIONS, source, *headers]:
        if file not in cache:
            cache[file] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
        digest.update(file.encode() + cache[file].encode())
    return digest.hexdigest()


def check(source):
    done = subprocess.run([TIDY, "--quiet", "-p", str(COMMANDS), source], capture_output=True, text=True)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = {str(pathlib.Path(file).resolve()) for file in sys.argv[2:]}
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        relative = os.path.relpath(source, ROOT)
        if relative.startswith(FREESTANDING):
            continue
        if relative.split(os.sep)[0] in FOLDERS and (not wanted or source in wanted):
            entries[source] = entry | {"command": without_precompiled(entry["command"])}
    CLEAN.mkdir(parents=True, exist_ok=True)
    COMMANDS.mkdir(exist_ok=True)
    (COMMANDS / "compile_commands.json").write_text(json.dumps(list(entries.values()), indent=1))
    headers = included(build)
    keys = {source: key(source, entry["command"], headers.get(source, [])) for source, entry in entries.items()}
    todo = [source for source in entries if not (CLEAN / keys[source]).exists()]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, (code, text) in zip(todo, pool.map(check, todo)):
            if code == 0:
                (CLEAN / keys[source]).touch()
            else:
                failed += 1
                print(text, flush=True)
    print(f"clang-tidy: {len(entries)} sources, {len(todo)} checked now, {failed} with findings")
    return 1 if failed or not entries else 0


if __name__ == "__main__":
    sys.exit(main())
