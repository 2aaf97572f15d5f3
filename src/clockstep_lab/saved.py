"""libvirt's file of a saved guest: its definition, then its memory. It is read, and written with another definition.

libvirt restores a guest under the identity that the file names, and lets neither name nor UUID be changed. So what is
kept is written once more for each guest: the same memory behind that guest's own definition. The format is that of
libvirt's src/qemu/qemu_saveimage.h, version 2, which every libvirt since 0.9.4 reads.
"""

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct("=16sIIIII56x")  # magic, version, length of the definition, was running, compression, cookie
_MAGIC = b"LibvirtQemudSave"
_VERSION, _UNCOMPRESSED = 2, 0
_CHUNK = 4 * 1024 * 1024


class UnusableError(Exception):
    """A kept file is not what it was when it was written."""


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rewrite(kept: Path, sha256: str, definition: str, to: Path) -> None:
    """Write a saved guest's memory behind another definition (domain XML).

    Raises UnusableError when the file is not the one of this digest, and OSError.
    """
    seen = hashlib.sha256()
    with kept.open("rb") as source, to.open("wb") as target:
        _skip_definition(source, seen)
        text = definition.encode() + b"\0"
        target.write(_HEADER.pack(_MAGIC, _VERSION, len(text), 1, _UNCOMPRESSED, 0) + text)
        while chunk := source.read(_CHUNK):
            seen.update(chunk)
            target.write(chunk)
    if seen.hexdigest() != sha256:
        raise UnusableError("its memory is damaged")


def _skip_definition(source: BinaryIO, seen: "hashlib._Hash") -> None:
    head = source.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise UnusableError("its memory is damaged")
    magic, version, length, _, compression, _ = _HEADER.unpack(head)
    if (magic, version, compression) != (_MAGIC, _VERSION, _UNCOMPRESSED):
        raise UnusableError("libvirt saved it in another format")
    seen.update(head)
    seen.update(source.read(length))
