#!/usr/bin/env python3
"""clang-tidy over the project's own sources, as many at a time as there are processors, remembering what was clean.

    tools/lint/tidy.py build/PRESET [FILE...]

A source is checked again only when it, a project header that it includes, its compile command or a .clang-tidy has
changed: the key is a hash over all of these, kept under build/tidy-cache. Exits 1 if anything was found.

Nearly all of the time goes into the standard library's headers, once a translation unit. So sources are checked in batches,
see batches.py, with options of their own: without g++'s warnings, which the build has made errors, and
without its precompiled headers. Where those headers hid that a source does not include what it uses, reading each source alone
shows it.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

import batches

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIDY = "clang-tidy-19"
FOLDERS = ("parsers", "translators", "proxy", "tools", "tests")
CONFIGURATIONS = (".clang-tidy", "tests/.clang-tidy")
# A guest without any operating system lives by fixed addresses and casts.
FREESTANDING = os.path.join("tests", "guests")
BATCHES = ROOT / "build" / "tidy"
CLEAN = ROOT / "build" / "tidy-cache"
COMPILER = "clang++-19"
# The path-sensitive analyzer gives a function up after so many steps (by itself: 225,000), which takes two thirds off its time.
ANALYZER = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=40000")]


def plain(command):
    """The words of a compile command that clang-tidy takes, without the source."""
    words = shlex.split(command)
    kept = []
    while words:
        word = words.pop(0)
        if word == "-include" and words[0].endswith("/cmake_pch.hxx"):
            words.pop(0)
        elif word in ("-o", "-c"):
            words.pop(0)
        elif not word.startswith("-W") and word != "-fpch-preprocess":
            kept.append(word)
    return [*kept, "-w"]


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


def key(source, options, headers, cache={}):
    digest = hashlib.sha256(shlex.join(options).encode())
    for file in [*(str(ROOT / name) for name in CONFIGURATIONS), source, *headers]:
        if file not in cache:
            cache[file] = hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
        digest.update(file.encode() + cache[file].encode())
    return digest.hexdigest()


def tidy(file, options):
    """(clean, what it says)"""
    done = subprocess.run([TIDY, "--quiet", *ANALYZER, str(file), "--", *options[1:]], capture_output=True, text=True)
    return done.returncode == 0, done.stdout.strip() or done.stderr.strip()


def read_alone(source, options):
    """(it compiles, what the compiler says)"""
    done = subprocess.run([COMPILER, "-fsyntax-only", *options[1:], source], capture_output=True, text=True)
    return done.returncode == 0, done.stderr.strip()


def check(batch):
    """source → (clean, what clang-tidy says). Where something is found, or they do not go together, of its halves."""
    if len(batch.sources) == 1:
        return {batch.sources[0]: tidy(batch.sources[0], batch.options)}
    if tidy(batch.file(ROOT, BATCHES), [*batch.options, *batch.quoted()])[0]:
        return dict.fromkeys(batch.sources, (True, ""))
    one, other = batch.halves()
    return check(one) | check(other)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = {str(pathlib.Path(file).resolve()) for file in sys.argv[2:]}
    options = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        relative = os.path.relpath(source, ROOT)
        if relative.startswith(FREESTANDING):
            continue
        if relative.split(os.sep)[0] in FOLDERS and (not wanted or source in wanted):
            options[source] = plain(entry["command"])
    headers = included(build)
    keys = {source: key(source, words, headers.get(source, [])) for source, words in options.items()}
    CLEAN.mkdir(parents=True, exist_ok=True)
    todo = {source: words for source, words in options.items() if not (CLEAN / keys[source]).exists()}
    made = batches.make(ROOT, todo, CONFIGURATIONS)
    failed = set()

    def found(source, clean, text):
        if not clean:
            failed.add(source)
            print(text, flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        checked = pool.map(check, made)
        for source, result in zip(todo, pool.map(read_alone, todo, todo.values())):
            found(source, *result)
        for results in checked:
            for source, result in results.items():
                found(source, *result)
    for source in todo.keys() - failed:
        (CLEAN / keys[source]).touch()
    print(f"clang-tidy: {len(options)} sources, {len(todo)} checked now in {len(made)} batches, {len(failed)} with findings")
    return 1 if failed or not options else 0


if __name__ == "__main__":
    sys.exit(main())
