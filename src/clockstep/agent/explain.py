"""What an agent on this machine can see and do, in a record and in lines."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clockstep.agent.others import Other
from clockstep.agent.signals import Signal
from clockstep.agent.work import Machine
from clockstep.model import AgentReport, SignalState
from clockstep.render.words import agent_head, agent_others

CAP_SYS_TIME = 1 << 25
"""linux/capability.h."""
NO_CLOCK = "nothing: no clock of the hypervisor's, and no chronyd to ask"
BY_CHRONY = "chronyd, after it has measured again; no clock of the hypervisor's is here"


def may_step(root: Path = Path("/")) -> bool:
    """Whether this process has CAP_SYS_TIME."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & CAP_SYS_TIME)
    return False


def explain(
    machine: Machine, signals: Sequence[Signal], others: Sequence[Other], reports_to: str = "", *, steps: bool
) -> AgentReport:
    """Return what there is, after one look by each signal; `reports_to` describes who is told of the clock."""
    for one in signals:
        one.check(machine.clock.monotonic_ns())
    claim = machine.claim()
    daemon = claim.daemon if claim else ""
    return AgentReport(
        signals=tuple(SignalState(one.name, not one.trouble, one.sees, one.blind, one.trouble) for one in signals),
        clock=_clock(machine, daemon),
        daemon=daemon,
        steps=steps,
        others=tuple(f"{one.name}: {one.text}" for one in others),
        reports_to=reports_to,
    )


def _clock(machine: Machine, daemon: str) -> str:
    if machine.device is None:
        return BY_CHRONY if daemon == "chrony" else NO_CLOCK
    name = f"{machine.device.path} ({machine.device.name})"
    if machine.ahead_ns is None:
        return f"{name}, once evidence says whether it counts UTC or TAI"
    return f"{name}, which counts {'TAI' if machine.ahead_ns else 'UTC'}"


def lines(report: AgentReport) -> list[str]:
    """Return a report as text."""
    signals = [line for one in report.signals for line in _of_signal(one)]
    return [*agent_head(report), *signals, *agent_others(report)]


def _of_signal(one: SignalState) -> list[str]:
    state = "up" if one.up else f"down: {one.trouble}"
    return [f"signal {one.signal}: {state}", f"  sees {one.sees}", f"  blind to {one.blind}"]
