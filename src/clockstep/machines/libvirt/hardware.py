"""What libvirt's XML of a domain says of its timekeeping (libvirt.org/formatdomain.html), pure."""

from xml.etree import ElementTree

from clockstep.model import Around

AGENT_CHANNEL = "devices/channel/target[@type='virtio'][@name='org.qemu.guest_agent.0']"


def agent_connected(xml: str) -> bool:
    """Whether something in the guest has opened the agent's channel; of one that was just added nobody says so."""
    target = ElementTree.fromstring(xml).find(AGENT_CHANNEL)  # noqa: S314 - from libvirt itself
    return target is not None and target.get("state") == "connected"


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
        windows=is_windows(xml),
    )


OSINFO = "{http://libosinfo.org/xmlns/libvirt/domain/1.0}"


def is_windows(xml: str) -> bool:
    """Whether a domain is one of Windows: as libosinfo calls it, or else by the features that its hypervisor mimics."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    system = domain.find(f"metadata/{OSINFO}libosinfo/{OSINFO}os")
    if system is not None and system.get("id"):
        return system.get("id", "").startswith("http://microsoft.com/")
    return domain.find("features/hyperv") is not None


CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def channel(xml: str) -> str:
    """Return the channel for an agent as a domain has it, to take it away by; empty where it has none."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    found = domain.find(f"{AGENT_CHANNEL}/..")
    return "" if found is None else ElementTree.tostring(found, encoding="unicode")


def _kept_in(clock: ElementTree.Element) -> str:
    """What the RTC counts: an offset that varies is one from its basis."""
    offset = clock.get("offset", "utc")
    return clock.get("basis", "utc") if offset == "variable" else offset


ElementTree.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
INDENT = "  "


def improved(xml: str, *, clock: bool = True) -> tuple[str, str]:
    """Return a domain's definition, and the same with what it lacks for keeping time, written alike.

    Without `clock`, that is left as it is; so is that of Windows, which wants its RTC in local time.
    """
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    before = ElementTree.tostring(domain, encoding="unicode")
    devices = domain.find("devices")
    if devices is not None and domain.find(AGENT_CHANNEL) is None:
        channel = ElementTree.Element("channel", type="unix")
        ElementTree.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
        _insert(devices, len(devices), channel, 2)
    if domain.find("genid") is None:
        names = [child.tag for child in domain]
        place = max(names.index(tag) for tag in ("name", "uuid") if tag in names) + 1
        _insert(domain, place, ElementTree.Element("genid"), 1)
    if clock and not is_windows(xml):
        _mend_clock(domain)
    return before, ElementTree.tostring(domain, encoding="unicode")


def clock_lacks(xml: str) -> tuple[str, ...]:
    """Return what is wrong with a domain's clock: `offset`, `rtc` (its timer) and `kvmclock`."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt itself
    clock = domain.find("clock")
    if clock is None or is_windows(xml):
        return ()
    stopping = clock.find("timer[@name='rtc'][@track='guest']") is not None
    off = clock.find("timer[@name='kvmclock'][@present='no']") is not None
    found = {"offset": _kept_in(clock) != "utc", "rtc": stopping, "kvmclock": off}
    return tuple(name for name, lacking in found.items() if lacking)


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
