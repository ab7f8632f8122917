"""Puts sources together that clang-tidy can read as one translation unit: a file with the text of them all. That it includes
them would not do: the path-sensitive analyzer looks at the functions of the file that it is given, and at no others.

Sources under one .clang-tidy and with the same options go together, as long as none declares a name that another one declares
too: what is local to a source would clash. Which names those are is read from the text, as clang-format leaves it (what stands in
a namespace is not indented). That may err: such a batch does not compile, and is to be halved.
"""
import dataclasses
import hashlib
import pathlib
import re
import shutil

MOST = 12  # sources; more save little, and make the last batch the longest
TYPE = re.compile(r"(?:struct|class|union|enum(?: class)?) (\w+)")
DECLARED = re.compile(r"((?:\w+::)*\w+)(?:<[^(={;]*>)?\s*(?:[(={;\[]|$)")
FURTHER = re.compile(r", (\w+) = ")  # constexpr int one = 1, other = 2;


@dataclasses.dataclass
class Batch:
    place: pathlib.PurePath  # of the .clang-tidy that is theirs
    options: tuple
    sources: list

    def halves(self):
        middle = len(self.sources) // 2
        return (dataclasses.replace(self, sources=self.sources[:middle]), dataclasses.replace(self, sources=self.sources[middle:]))

    def quoted(self):
        """Options with which each finds what it includes from beside itself."""
        return [f"-iquote{folder}" for folder in sorted({str(pathlib.Path(source).parent) for source in self.sources})]

    def file(self, root, folder):
        """Writes that file, and beside it the .clang-tidy, as clang-tidy looks for it there and above."""
        text = "".join(f'#line 1 "{source}"\n{pathlib.Path(source).read_text()}\n' for source in self.sources)
        file = folder / self.place / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cpp"
        file.parent.mkdir(parents=True, exist_ok=True)
        if self.place.parts:
            shutil.copy(root / self.place / ".clang-tidy", file.parent)
        file.write_text(text)
        return file


def declared(text):
    """Name → the line that declares it."""
    names = {}
    for line in text.splitlines():
        if not re.match(r"[\w\[]", line) or line.startswith(("namespace", "TEST_CASE", "template")):
            continue
        found = TYPE.match(line) or DECLARED.search(line)
        if found and (line.startswith("using ") or "::" not in found[1]):  # a member's definition clashes with nothing
            names[found[1].split("::")[-1]] = line
            names.update((name, line) for name in FURTHER.findall(line))
    return names


def clash(one, other):
    """The same declaration twice (using …;) is none."""
    return any(one[name] != other[name] or not one[name].startswith("using ") for name in one.keys() & other.keys())


def make(root, sources, configurations):
    """Batches of `sources`: path → compiler options. `configurations`: which .clang-tidy there are, below `root`."""
    places = [pathlib.PurePath(each).parent for each in configurations]
    made = []  # (batch, the names in it)
    for source, options in sources.items():
        place = max((each for each in places if pathlib.Path(source).is_relative_to(root / each)), key=lambda each: len(each.parts))
        names = declared(pathlib.Path(source).read_text())
        for batch, taken in made:
            if (batch.place, batch.options) == (place, tuple(options)) and len(batch.sources) < MOST and not clash(taken, names):
                break
        else:
            batch, taken = Batch(place, tuple(options), []), {}
            made.append((batch, taken))
        batch.sources.append(source)
        taken.update(names)
    return [batch for batch, _ in made]
