"""Whether a Vagrant project is to be believed: its Vagrantfile is code, and its keys lead into machines."""

import os
import pwd
from pathlib import Path

from clockstep.core.selection import Project
from clockstep.host.trust import caller, objection

CODE = ("Vagrantfile", "vagrantfile", ".vagrantplugins")
"""What Vagrant runs of a project's folder (lib/vagrant/environment.rb)."""


def untrusted(project: Project) -> str:
    """Return why a project is not to be believed: that somebody else owns it, or may write there. Empty where none may.

    That counts for the project, its code and its data, and the folders above the one from which it was found. To root,
    a project is its owner's, as whom Vagrant runs then.
    """
    root, here = Path(project.folder), Path(project.here)
    owners = caller() if os.geteuid() else {*caller(), root.stat().st_uid}
    between = [at for at in (here, *here.parents) if at.is_relative_to(root)]
    code = [root / name for name in (*CODE, project.vagrantfile) if name]
    return objection(dict.fromkeys((root, Path(project.data), *code, *between)), owners)


def as_owner(folder: Path) -> list[str]:
    """Return what root puts before a command that is a project's own code: it runs as the project's owner."""
    owner = folder.stat()
    if os.geteuid() or owner.st_uid == 0:
        return []
    home = pwd.getpwuid(owner.st_uid).pw_dir
    return ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--init-groups", "env", f"HOME={home}"]
