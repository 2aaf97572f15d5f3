"""What the agent tells its service manager of the clock, for `systemctl status` and for whoever sets it up."""

from collections.abc import Callable, Sequence

from clockstep.agent.work import Machine
from clockstep.core.agent_status import CHRONY, MAY_NOT, NOTHING, OBSERVES, PHC, STEPS, AgentSays, says_after
from clockstep.model import AgentReport, Episode
from clockstep.ports import Listed


def first_says(machine: Machine, report: AgentReport, *, observes: bool) -> AgentSays:
    """Return what an agent says as long as it has not measured."""
    by = PHC if machine.device is not None and machine.ahead_ns is not None else NOTHING
    if by == NOTHING and report.daemon == CHRONY:
        by = CHRONY
    return AgentSays(by, OBSERVES if observes else STEPS if report.steps else MAY_NOT)


class StatusLine:
    """Says after each Episode how the clock is."""

    def __init__(self, says: AgentSays, say: Callable[[AgentSays], None]) -> None:
        self._says, self._say = says, say

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what hypervisors listed: an agent asks none."""

    def seen(self, episode: Episode, *, new: bool) -> None:  # noqa: ARG002 - what is not new is as true
        """Say how the clock is after an Episode."""
        self._says = says_after(self._says, episode)
        self._say(self._says)

    def ended(self) -> None:
        """Take that the agent ends."""
