"""What the aftermath asks of a Kubernetes cluster, by roles, as in `ports/kubernetes.py`: to look, and to repair."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from clockstep.model import Act
from clockstep.model.damage import Endpoint, Input, Probe, Unread


class KubeDamage(Protocol):
    """Who may read what the checks of the aftermath need."""

    def gather(self, wanted: Collection[Input]) -> tuple[Mapping[str, tuple[Any, ...]], Mapping[Input, Unread]]:
        """Return what was read, by the names of the fields of `Seen`, and why some was not."""

    def probe(self, webhooks: Sequence[Endpoint]) -> tuple[Probe, ...]:
        """Call webhooks through the API server, by requests that change nothing; raises nothing."""


class KubeRepairs(Protocol):
    """Who may carry cures out."""

    def perform(self, act: Act, at_ns: int) -> str:
        """Do something to an object; return why it was skipped, or nothing if it was done."""

    def note(self, act: Act, text: str, at_ns: int) -> None:
        """Record an Event on the object of an act."""


class Healing(KubeDamage, KubeRepairs, Protocol):
    """A cluster whose damage may be looked at and repaired."""
