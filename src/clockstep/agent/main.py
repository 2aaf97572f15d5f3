"""The agent's own small entry, and how it is put together: for a node that has python3 and nothing else."""

import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from clockstep.agent.agent import Agent
from clockstep.agent.explain import explain, lines, may_step
from clockstep.agent.limits import Orders
from clockstep.agent.lines import json_line, text_line
from clockstep.agent.metrics import AgentMetrics
from clockstep.agent.options import Options, parse
from clockstep.agent.others import others
from clockstep.agent.printer import Printer
from clockstep.agent.signals import Signal
from clockstep.agent.signals.clock_set import ClockSetSignal
from clockstep.agent.signals.fork import ForkSignal
from clockstep.agent.signals.phc import PhcSignal
from clockstep.agent.signals.tick import TickSignal
from clockstep.agent.signals.vmclock import VmclockSignal
from clockstep.agent.status import StatusLine, first_says
from clockstep.agent.work import Compared, Machine, Worker
from clockstep.core.agent_status import AgentSays, status_line
from clockstep.errors import BusyError, ClockstepError, UsageError, visible
from clockstep.host.clock import SystemClock
from clockstep.host.kernel import ReadKernel, SystemKernel
from clockstep.host.locks import DomainLocks
from clockstep.host.phc import host_devices
from clockstep.host.sd_notify import Notifier
from clockstep.host.streams import print_anything
from clockstep.model import AgentReport, Guest, Policy
from clockstep.ports import Tell
from clockstep.render.stamps import prefix
from clockstep.sinks.lines import EpisodeLines
from clockstep.units import SECOND_NS

if TYPE_CHECKING:
    from clockstep.agent.kube.sink import NodeSink
    from clockstep.agent.listener import Listener

THIS = Guest("this machine's agent", "agent/this-machine", "running")
HEALTHY_NS = 5 * SECOND_NS
"""A loop that has had no tick for that long stands still."""
SAME_AGENT_NS = SECOND_NS
"""How long another agent is waited for, which may just be ending."""
LOCKS = Path("/run/clockstep/locks")
"""Where root's lock is kept if another user's process holds the name that says that an agent runs here."""
USAGE, LOCKED, REFUSED = 2, 5, 6
"""Exit codes, as the command line has them (`cli/exits.py`)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent as the command line asks, and return its exit code."""
    print_anything()
    options = parse(list(sys.argv[1:] if argv is None else argv))
    try:
        if options.explain:
            report = explained(options)
            print(json.dumps(asdict(report)) if options.as_json else "\n".join(map(visible, lines(report))))  # noqa: T201
            return 0
        return run(options)
    except ClockstepError as error:
        print(f"clockstep-agent: {error.message}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)  # noqa: T201
        return USAGE if isinstance(error, UsageError) else LOCKED if isinstance(error, BusyError) else REFUSED


def run(options: Options, *, quiet: bool = False) -> int:
    """Watch until SIGTERM or SIGINT. Raises ClockstepError; BusyError where another agent runs on this machine."""
    _ = options.reporting  # what does not fit together is said before anything runs
    clock, out, err = SystemClock(), Printer(1), Printer(2)

    def tell(_node: str, text: str) -> None:
        if not quiet:
            err(f"{prefix(sys.stderr, os.environ)}{visible(text)}")

    control = Stop(Notifier(os.environ, clock))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: control.end())
    with DomainLocks(clock, tell, LOCKS).hold([THIS], SAME_AGENT_NS):
        _watch(options, out, tell, control)
    for printer in (out, err):
        printer.close()
    return 0


def explained(options: Options) -> AgentReport:
    """Return what an agent with these options can see here."""
    machine = machine_of(options, lambda _node, _text: None)
    machine.find_scale()
    signals = signals_of(machine, Compared(machine), options)
    report = explain(machine, signals, others(), _reports_to(options), steps=may_step() and not options.observe)
    for one in signals:
        one.close()
    return report


def _watch(options: Options, out: Callable[[str], None], tell: Tell, control: "Stop") -> None:
    machine = machine_of(options, tell)
    compared = Compared(machine)
    signals = signals_of(machine, compared, options)
    metrics = AgentMetrics()
    policy = Policy(
        options.tolerance_ns, options.max_forward_ns, options.max_backward_ns, options.deadline_ns, resync_idle=False
    )
    acts = may_step() and not options.observe
    orders = Orders(policy, acts, options.max_accumulated_ns)
    report = explain(machine, signals, others(), _reports_to(options), steps=acts)
    for line in lines(report):
        tell("", line)
    says = first_says(machine, report, observes=options.observe)
    told = _reporting(options, machine)
    for one in told:
        metrics.kubernetes_up = one.up
    agent = Agent(
        Worker(machine, orders),
        signals,
        machine.clock,
        tell,
        metrics,
        [EpisodeLines(out, json_line if options.as_json else text_line), StatusLine(says, control.says), *told],
        compared.rise,
    )
    listener = _listener(options, metrics, lambda: machine.clock.monotonic_ns() - agent.ticked_ns < HEALTHY_NS, tell)
    control.ready(says)
    agent.run(options.every_ns, control)
    control.stopping()
    if listener:
        listener.close()


def host_name() -> str:
    """Return how this machine is called."""
    return platform.node() or "localhost"


def machine_of(options: Options, tell: Tell) -> Machine:
    """Return this machine; one that is only observed has a kernel that moves no clock."""
    kernel = SystemKernel() if may_step() and not options.observe else ReadKernel()
    devices = host_devices()
    return Machine(
        name=host_name(),
        kernel=kernel,
        clock=SystemClock(),
        tell=tell,
        device=devices[0] if devices else None,
        host_error_ns=options.host_error_ns,
    )


def signals_of(machine: Machine, compared: Compared, options: Options) -> list[Signal]:
    """Return the signals of this machine, those first that say more of what has happened."""
    pages = [VmclockSignal(path) for path in sorted(Path("/dev").glob("vmclock*"))[:1]]
    if pages and machine.host_error_ns is None:
        machine.host_error_ns = pages[0].max_error_ns
    return [
        *pages,
        ForkSignal(),
        PhcSignal(compared.offset, compared.scaled, options.tolerance_ns),
        TickSignal(machine.clock),
        ClockSetSignal(),
    ]


class Stop:
    """What ends the agent, and the service manager that started it, which is told that it lives in each tick."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._over = False

    def end(self) -> None:
        """End the agent at its next tick; a signal handler may call it."""
        self._over = True

    def is_over(self) -> bool:
        """Whether the agent is to end."""
        self._notifier.alive()
        return self._over

    def ready(self, says: AgentSays) -> None:
        """Say that it watches."""
        self._notifier.ready(status_line(says))

    def says(self, says: AgentSays) -> None:
        """Say how the clock is."""
        self._notifier.status(status_line(says))

    def stopping(self) -> None:
        """Say that it ends."""
        self._notifier.stopping()


def _reporting(options: Options, machine: Machine) -> "list[NodeSink]":
    """Report to a Kubernetes cluster where that is asked for; what TLS takes of memory is spared otherwise.

    What that needs is imported now: later it would take its time from a correction.
    """
    if options.reporting is None:
        return []
    from clockstep.agent.kube.sink import sink

    return [sink(options, options.reporting, machine)]


def _reports_to(options: Options) -> str:
    """Return which Kubernetes cluster is reported to, in words; empty for none."""
    if options.reporting is None:
        return ""
    from clockstep.agent.kube.sink import described

    return described(options.reporting, host_name())


def _listener(options: Options, metrics: AgentMetrics, healthy: Callable[[], bool], tell: Tell) -> "Listener | None":
    """Serve metrics where that is asked for; what HTTP takes of memory is spared otherwise."""
    if options.metrics is None:
        return None
    from clockstep.agent.listener import Listener

    listener = Listener(options.metrics, metrics.text, healthy)
    tell("", f"metrics are served at {listener.address}")
    return listener
