"""A kept cluster: what etcd has, all keys, and every node's memory and disk, of one moment, in one folder.

They belong together: an etcd without its nodes' certificates, or with pods that no node knows, is no cluster. So
there is one folder for each number of nodes, which is kept, used and forgotten as a whole.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clockstep_lab.cache import place
from clockstep_lab.moments import Moments
from clockstep_lab.places import account
from clockstep_lab.saved import UnusableError

KEPT = ("pki", "etcd")
"""What of a control plane's home is kept: its ports are other ones in each lab."""
MADE_BY = ("cluster.py", "control_plane.py", "workloads.py", "gate.py")


@dataclass(frozen=True)
class ClusterMoment(Moments):
    """Where the moment of a cluster with these nodes is kept, or would be."""

    names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return f"moment-{self.image.name}-{self.state.name}-{len(self.names)}"

    @cached_property
    def whole(self) -> Path:
        """The folder of all of it."""
        parts = [Path(__file__).with_name(name).read_bytes() for name in MADE_BY]
        return place(self.kind, [*self._ingredients, " ".join(self.names).encode(), *parts])

    def folder(self, name: str) -> Path:
        """Where this node's part of it is."""
        return self.whole / name

    def forget(self, _name: str = "") -> None:
        """Remove all of it: no part is of use without the others."""
        shutil.rmtree(self.whole, ignore_errors=True)

    def is_kept(self) -> bool:
        """Whether it is there."""
        return self.whole.is_dir()


def keep_plane(home: Path, part: Path) -> None:
    """Copy what is kept of a stopped control plane into a moment that is being made. Raises OSError."""
    for name in KEPT:
        shutil.copytree(home / name, part / name)


def restore_plane(whole: Path, home: Path) -> None:
    """Put a kept control plane into a lab; none runs there. Raises UnusableError when it is not whole."""
    forget_plane(home)
    try:
        for name in KEPT:
            shutil.copytree(whole / name, home / name)
        for path in (home / "etcd").rglob("*"):
            os.chown(path, account().uid, account().gid)
    except (OSError, shutil.Error) as error:
        raise UnusableError("its control plane is not whole") from error


def forget_plane(home: Path) -> None:
    """Remove what a stopped control plane knows."""
    for name in KEPT:
        shutil.rmtree(home / name, ignore_errors=True)
