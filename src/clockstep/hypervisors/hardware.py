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
        rtc_offset="utc" if clock is None else _kept_in(clock),
        rtc_track="" if rtc is None else rtc.get("track", ""),
        snapshot_ns=snapshot_ns,
    )


def _kept_in(clock: ElementTree.Element) -> str:
    """What the RTC counts: an offset that varies is one from its basis."""
    offset = clock.get("offset", "utc")
    return clock.get("basis", "utc") if offset == "variable" else offset


ElementTree.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
INDENT = "  "


def improved(xml: str, *, genid: bool = True) -> tuple[str, str]:
    """Return a domain's definition, and the same with what it lacks for keeping time, written alike.

    Without `genid`, a generation id is left out of that.
    """
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    before = ElementTree.tostring(domain, encoding="unicode")
    devices = domain.find("devices")
    if devices is not None and domain.find(AGENT_CHANNEL) is None:
        channel = ElementTree.Element("channel", type="unix")
        ElementTree.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
        _insert(devices, len(devices), channel, 2)
    if genid and domain.find("genid") is None:
        names = [child.tag for child in domain]
        place = max(names.index(tag) for tag in ("name", "uuid") if tag in names) + 1
        _insert(domain, place, ElementTree.Element("genid"), 1)
    _mend_clock(domain)
    return before, ElementTree.tostring(domain, encoding="unicode")


def _mend_clock(domain: ElementTree.Element) -> None:
    """The RTC in UTC and going on while the guest stands still, and kvmclock not switched off."""
    clock = domain.find("clock")
    if clock is None:
        clock = ElementTree.Element("clock", offset="utc")
        _insert(domain, len(domain), clock, 1)
    if _kept_in(clock) != "utc":
        clock.attrib.clear()
        clock.set("offset", "utc")
    for timer in clock.findall("timer"):
        if timer.get("name") == "rtc" and timer.get("track") == "guest":
            timer.set("track", "wall")
        if timer.get("name") == "kvmclock" and timer.get("present") == "no":
            timer.set("present", "yes")


def _insert(parent: ElementTree.Element, place: int, child: ElementTree.Element, depth: int) -> None:
    """Insert on a line of its own, as libvirt indents."""
    last = place == len(parent)
    child.tail = "\n" + INDENT * (depth - 1 if last else depth)
    if place:
        parent[place - 1].tail = "\n" + INDENT * depth
    else:
        parent.text = "\n" + INDENT * depth
    parent.insert(place, child)
