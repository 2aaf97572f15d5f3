"""What a guest boots from: a kernel, an initrd, a root disk. One type for every kind of guest."""

import lzma
from dataclasses import dataclass
from pathlib import Path

from .run import run

GUEST_FILES = Path(__file__).parent / "guest"
PROGRAMS = (GUEST_FILES / "witness.c", GUEST_FILES / "hand.c")


@dataclass(frozen=True)
class Image:
    """Files in the cache; `root` is a qcow2 disk that guests only use as a backing file.

    `kind` is minimal or full. `boot_s` is how long three guests may take to answer; `packages` is a folder of Debian
    packages to serve to them; `serves` is a port of the guest that is called from this machine, 0 for none.
    """

    name: str
    kind: str
    folder: Path
    memory_mib: int
    boot_s: float
    kernel_arguments: str = ""
    packages: Path | None = None
    serves: int = 0

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        return self.folder / "root.qcow2"


def unpack(package: Path, tree: Path, *excluded: str) -> None:
    """Extract a .deb into a tree of files, links to directories (/lib to usr/lib) kept."""
    tar = run(["dpkg-deb", "--fsys-tarfile", package])
    exclusions = [f"--exclude={pattern}" for pattern in excluded]
    run(["tar", "--extract", "--keep-directory-symlink", *exclusions, "--directory", tree], stdin=tar)


def make_disk(tree: Path, script: str, disk: Path, size: str) -> None:
    """Run a shell script that completes $TREE, as if it were root, and make a qcow2 disk with an ext4 of it.

    fakeroot(1) keeps the owners and modes that the script sets, and gives them to mke2fs(8).
    """
    raw = disk.with_suffix(".raw")
    pack = f'{script}\ntruncate -s {size} "$RAW"\nmke2fs -q -t ext4 -d "$TREE" -L root -E root_owner=0:0 "$RAW"'
    env = {"TREE": str(tree), "RAW": str(raw), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    run(["fakeroot", "sh", "-euc", pack], env=env)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk])
    raw.unlink()


def compile_programs(into: Path) -> None:
    """Compile the lab's own programs, static, so that they run in any guest."""
    into.mkdir(parents=True, exist_ok=True)
    for source in PROGRAMS:
        run(["gcc", "-O2", "-static", "-Wall", "-Werror", "-o", into / source.stem, source])


def kernel_module(tree: Path, name: str) -> bytes:
    """A module's code, decompressed: the initramfs has nothing that could do it."""
    (path,) = (tree / "usr/lib/modules").rglob(f"{name}.ko*")
    code = path.read_bytes()
    return lzma.decompress(code) if path.suffix == ".xz" else code


def source_of_images(kind: str) -> list[bytes]:
    """Everything of the lab's own that images of a kind are made of: its hash says when to build anew."""
    here = Path(__file__).parent
    code = [here / name for name in ("apt.py", "image.py", f"{kind}.py", "repository.py")]
    files = sorted(path for path in (GUEST_FILES / kind).rglob("*") if path.is_file())
    return [path.read_bytes() for path in (*code, *PROGRAMS, GUEST_FILES / "port.h", *files)]
