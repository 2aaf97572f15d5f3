"""The Vagrant project one stands in: `.vagrant/machines/NAME/libvirt/id` has the UUID of a machine's domain."""

from collections.abc import Mapping
from pathlib import Path

from clockstep.core.selection import Project
from clockstep.errors import UsageError

SYSTEM = "qemu:///system"
"""Where vagrant-libvirt makes its domains, unless told otherwise (its `system_uri`)."""


def find_project(folder: Path, environment: Mapping[str, str]) -> Project | None:
    """Return the project of a folder: of the nearest one upward that is a project, as Vagrant itself looks for it.

    None where there is no project, or none with a machine of libvirt's. LIBVIRT_DEFAULT_URI in `environment` goes
    before vagrant-libvirt's own address. Raises UsageError for an id that cannot be read.
    """
    root = _root(folder)
    ids = sorted((root / ".vagrant" / "machines").glob("*/libvirt/id")) if root else []
    if not ids:
        return None
    machines = tuple((path.parts[-3], _uuid(path)) for path in ids)
    return Project(str(root), machines, () if environment.get("LIBVIRT_DEFAULT_URI") else (SYSTEM,))


def _root(folder: Path) -> Path | None:
    """Return the project's folder; a folder that may not be looked into, or is gone, is in no project."""
    try:
        here = folder.absolute()
        return next(
            (at for at in (here, *here.parents) if (at / ".vagrant").is_dir() or (at / "Vagrantfile").is_file()), None
        )
    except OSError:
        return None


def _uuid(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name the nodes, or leave the Vagrant project") from error
