"""What libvirt's XML of a domain says of its timekeeping (libvirt.org/formatdomain.html), pure."""

from xml.etree import ElementTree

from clockstep.model import Around

AGENT_CHANNEL = "devices/channel/target[@type='virtio'][@name='org.qemu.guest_agent.0']"


def parse(xml: str, snapshot_ns: int | None) -> Around:
    """Return what surrounds a node's clock; `snapshot_ns` is when its current snapshot was taken."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    clock, rtc = domain.find("clock"), domain.find("clock/timer[@name='rtc']")
    return Around(
        agent_channel=domain.find(AGENT_CHANNEL) is not None,
        generation_id=domain.find("genid") is not None,
        clock_offset="utc" if clock is None else clock.get("offset", "utc"),
        rtc_track="" if rtc is None else rtc.get("track", ""),
        snapshot_ns=snapshot_ns,
    )
