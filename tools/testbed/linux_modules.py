"""Kernel modules for an initrd: those that are named and all that they need, in an order that insmod takes."""
import lzma
import pathlib
import shutil


def bare(path):
    return pathlib.PurePath(path).name.split(".ko")[0].replace("-", "_")


def collect(tree, names, target):
    """Copies the modules `names` of the kernel whose folder is `tree` (lib/modules/RELEASE), unpacked, to the folder
    `target`, with a file `order`. Names that are built in, or that this kernel does not have, are left out."""
    needs = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        module, _, rest = line.partition(":")
        needs[bare(module)] = (module, [bare(other) for other in rest.split()])
    order = []

    def add(name):
        if name in needs and name not in order:
            # modules.dep lists what a module needs from the nearest to the farthest.
            for other in reversed(needs[name][1]):
                add(other)
            order.append(name)

    for name in names:
        add(name)
    target.mkdir(parents=True, exist_ok=True)
    for name in order:
        source = tree / needs[name][0]
        if source.suffix == ".xz":
            (target / f"{name}.ko").write_bytes(lzma.decompress(source.read_bytes()))
        else:
            shutil.copy(source, target / f"{name}.ko")
    (target / "order").write_text("".join(f"{name}.ko\n" for name in order))
    return order
