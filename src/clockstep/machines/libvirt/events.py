"""What libvirt's events mean for a guest's clock (virDomainEventID in libvirt-domain.h)."""

from collections.abc import Callable
from typing import Any

import libvirt

from clockstep.model import Happening, What
from clockstep.ports import Clock

Tell = Callable[[Happening], None]

DETAILS = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT): What.REVERTED,
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT): What.REVERTED,
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED): What.RESTORED,
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): What.MIGRATED,
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): What.MIGRATED,
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): What.BOOTED,
}
OTHERS = {
    libvirt.VIR_DOMAIN_EVENT_RESUMED: What.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: What.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: What.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: What.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: What.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: What.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: What.STOPPED,
}
"""What an event means whatever its detail is."""


def register(connection: Any, clock: Clock, tell: Tell) -> list[int]:
    """Have a connection tell what happens to all its domains; return what takes that back, and keeps it open till then.

    Raises libvirtError where it has no events.
    """

    def lifecycle(_connection: object, domain: Any, event: int, detail: int, _opaque: object) -> None:
        what = DETAILS.get((event, detail)) or OTHERS.get(event)
        if what:
            tell(Happening(domain.UUIDString(), what, clock.monotonic_ns()))

    def agent(_connection: object, domain: Any, state: int, _reason: int, _opaque: object) -> None:
        if state == libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED:
            tell(Happening(domain.UUIDString(), What.ANSWERS, clock.monotonic_ns()))

    wanted = {
        libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: lifecycle,
        libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: agent,
    }
    return [connection.domainEventRegisterAny(None, kind, told, None) for kind, told in wanted.items()]
