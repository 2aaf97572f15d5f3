"""Which Vagrant project one stands in, and which domains its machines are.

Vagrant looks for a Vagrantfile in a folder and those above it. `.vagrant/machines/NAME/libvirt/id` beside it has the
UUID of a machine's domain (lib/vagrant/environment.rb of Vagrant, create_domain.rb of vagrant-libvirt).
"""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from clockstep.core.selection import Project
from clockstep.errors import UsageError

SYSTEM = "qemu:///system"
"""Where vagrant-libvirt makes its domains, unless told otherwise (its `system_uri`)."""


def find_project(folder: Path, environment: Mapping[str, str]) -> Project | None:
    """Return the project of a folder: of the nearest one upward that is a project, as Vagrant itself looks for it.

    None where there is no project, or none with a machine of libvirt's. Vagrant's own variables VAGRANT_CWD,
    VAGRANT_VAGRANTFILE and VAGRANT_DOTFILE_PATH in `environment` count as they do for Vagrant, and LIBVIRT_DEFAULT_URI
    goes before vagrant-libvirt's own address. Raises UsageError for an id that cannot be read, and where VAGRANT_CWD is
    no folder.
    """
    elsewhere = environment.get("VAGRANT_CWD")
    if elsewhere and not Path(elsewhere).is_dir():
        raise UsageError(f"VAGRANT_CWD is {elsewhere!r}, and that is no folder", "correct it, or unset it")
    data = Path(environment.get("VAGRANT_DOTFILE_PATH") or ".vagrant").expanduser()
    file = environment.get("VAGRANT_VAGRANTFILE") or "Vagrantfile"
    try:
        here = Path(elsewhere or folder).absolute()
        root = _root(here, file, data)
    except OSError:  # a folder that is gone, or that may not be looked into, is in no project
        return None
    ids = sorted((root / data / "machines").glob("*/libvirt/id")) if root else []
    if not root or not ids:
        return None
    machines = tuple((path.parts[-3], _uuid(path)) for path in ids)
    connect = () if environment.get("LIBVIRT_DEFAULT_URI") else (SYSTEM,)
    return Project(str(root), machines, connect, str(here), str(root / data), file)


def _root(here: Path, file: str, data: Path) -> Path | None:
    """Return the nearest folder upward with the file, or with the data, which tell nothing if they are elsewhere."""
    for at in (here, *here.parents):
        if (at / file).is_file() or (not data.is_absolute() and (at / data).is_dir()):
            return at
    return None


def _uuid(path: Path) -> str:
    try:
        return str(UUID(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name the nodes, or leave the Vagrant project") from error
