"""The spanning tree of nodes' networks: shown with who else is on them, switched off with consent, and on again.

The bridge itself is changed, and the network's definition; the network is never stopped, which would cut off everybody
on it.
"""

from collections.abc import Callable, Iterator, Sequence

from clockstep.core.setup import SetupNode, SetupOutcome, SetupPlan, SetupReport, failed, report
from clockstep.errors import ClockstepError
from clockstep.model import Bridge, Guest
from clockstep.ports import World
from clockstep.state.journal import FileDefinitions

MARK = "spanning"


def look(world: World, guests: Sequence[Guest]) -> SetupReport:
    """Return whose spanning tree would be switched off; nothing is changed."""
    return _each(world, guests, lambda _guest, bridge: _looked(bridge))


def switch_off(world: World, guests: Sequence[Guest], kept: FileDefinitions) -> SetupReport:
    """Switch the spanning tree of the nodes' networks off, after it was written down which had it."""

    def one(guest: Guest, bridge: Bridge) -> SetupNode:
        found = _looked(bridge)
        if found.outcome is not SetupOutcome.WOULD_CHANGE:
            return found
        kept.keep(bridge.uuid, MARK, bridge.network)
        try:
            later = world.hypervisor.set_spanning(guest, bridge, spanning=False)
        except ClockstepError:
            kept.forget(bridge.uuid, MARK)
            raise
        return SetupNode(bridge.network, SetupOutcome.DEFINED, _said(bridge, later), found.plan)

    return _each(world, guests, one)


def undo(world: World, guests: Sequence[Guest], kept: FileDefinitions) -> SetupReport:
    """Switch it on again where clockstep has switched it off."""

    def one(guest: Guest, bridge: Bridge) -> SetupNode:
        if kept.kept(bridge.uuid, MARK) is None:
            return SetupNode(bridge.network, SetupOutcome.UNCHANGED, "clockstep has not changed it")
        later = world.hypervisor.set_spanning(guest, bridge, spanning=True)
        kept.forget(bridge.uuid, MARK)
        return SetupNode(bridge.network, SetupOutcome.PUT_BACK, _said(bridge, later))

    return _each(world, guests, one)


def _looked(bridge: Bridge) -> SetupNode:
    if not bridge.spanning:
        return SetupNode(bridge.network, SetupOutcome.UNCHANGED)
    acts = (f"<bridge name='{bridge.device}' stp='off'/>, in the network's definition and on the bridge as it is",)
    plan = SetupPlan("libvirt network", "libvirt", acts=acts)
    return SetupNode(bridge.network, SetupOutcome.WOULD_CHANGE, _said(bridge), plan)


def _said(bridge: Bridge, later: str = "") -> str:
    on_it = f"on it: {', '.join(bridge.members) or 'nobody'}"
    return f"it counts from the network's next start on, because {later}; {on_it}" if later else on_it


def _each(world: World, guests: Sequence[Guest], one: Callable[[Guest, Bridge], SetupNode]) -> SetupReport:
    return report(world.host, _found(world, guests, one))


def _found(world: World, guests: Sequence[Guest], one: Callable[[Guest, Bridge], SetupNode]) -> Iterator[SetupNode]:
    seen: set[tuple[str, str]] = set()
    for guest in guests:
        try:
            for bridge in world.hypervisor.bridges(guest):
                if (guest.connection, bridge.uuid) not in seen:
                    seen.add((guest.connection, bridge.uuid))
                    yield one(guest, bridge)
        except ClockstepError as error:
            yield failed(guest.name, error)
