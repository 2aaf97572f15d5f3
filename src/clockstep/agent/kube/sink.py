"""The Kubernetes cluster as a sink of the agent: its own Node learns what its clock does, beside the clock's work."""

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clockstep.agent.kube.access import node_of, target
from clockstep.agent.kube.client import NodeReports
from clockstep.agent.options import Options, Reporting
from clockstep.agent.work import Machine
from clockstep.core.condition import writer_name
from clockstep.errors import ClockstepError, KubernetesError
from clockstep.host.reference import HostReference
from clockstep.model import Episode
from clockstep.ports import Instant, KubeReports, Listed
from clockstep.sinks.reporter import Finder, Reporter


class NodeName(Finder):
    """Knows the Node of this machine, by what the files say now: it may join its cluster after the agent began."""

    def __init__(self, reporting: Reporting, root: Path = Path("/")) -> None:
        self._reporting, self._root = reporting, root

    def node(self, machine: str) -> str:
        """Return the name of this machine's Node. Raises KubernetesError."""
        return node_of(self._reporting, target(self._reporting, self._root), machine)


class NodeTime(HostReference):
    """The time that reports bear: the hypervisor's, where that is known, since the node's own clock may be off."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def now(self) -> Instant:
        """Return the time."""
        machine = self._machine
        with suppress(ClockstepError):
            if machine.device and machine.ahead_ns is not None:
                phc = machine.phc()
                try:
                    return machine.reference(phc).now()
                finally:
                    phc.close()
        return Instant(machine.kernel.realtime_ns())


class NodeSink:
    """Gives each Episode of this machine to a reporter, which has a thread of its own: nothing here waits for it."""

    def __init__(self, reporter: Reporter, tolerance_ns: int) -> None:
        self._reporter, self._tolerance_ns = reporter, tolerance_ns

    def up(self) -> bool | None:
        """Whether the cluster took what was last reported; None before that."""
        return self._reporter.up

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what hypervisors listed: an agent asks none."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode, to be reported."""
        self._reporter.seen(episode.node, episode, self._tolerance_ns, new=new)

    def ended(self) -> None:
        """Have written what is not yet, for a moment; the condition stays."""
        self._reporter.end()


def sink(options: Options, reporting: Reporting, machine: Machine, reports: KubeReports | None = None) -> NodeSink:
    """Return what reports on this machine's clock from now on.

    Nodes that were cloned have one random state, so their haste is spread by the kernel's numbers.
    """
    reporter = Reporter(
        reports or NodeReports(reporting),
        writer_name("agent", machine.name),
        machine.clock,
        NodeTime(machine),
        machine.tell,
        NodeName(reporting),
        random.SystemRandom().random,
    )
    reporter.start()
    return NodeSink(reporter, options.tolerance_ns)


def described(reporting: Reporting, host: str, root: Path = Path("/")) -> str:
    """Return where a node reports to, or why it cannot yet, in words. Nobody is asked."""
    try:
        found = target(reporting, root)
        return f"Kubernetes at {found.server}, as the Node {node_of(reporting, found, host)}"
    except KubernetesError as error:
        return f"Kubernetes, but not yet: {error.message}"
