"""libvirt: what its descriptions and errors mean."""

import contextlib
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from clockstep.core.certificates import LONGEST, MOST
from clockstep.errors import (
    ConfinedError,
    ExecBlockedError,
    HypervisorError,
    NoProgramError,
    NotRunningError,
    NotSteppedError,
    ReachError,
    UsageError,
)
from clockstep.host.clock import SystemClock
from clockstep.host.reference import HostReference
from clockstep.machines.libvirt import hypervisor as hypervisors
from clockstep.machines.libvirt.channel import DomainChannel
from clockstep.machines.libvirt.connection import connect, unanswered
from clockstep.machines.libvirt.hardware import agent_connected
from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.machines.libvirt.inside import OfGuest
from clockstep.machines.libvirt.marks import describe_snapshot, parse_snapshot
from clockstep.machines.libvirt.pool import Lease
from clockstep.model import Certificate, Happening, Snapshot, What
from clockstep.ports import Reach, Ways
from clockstep.units import SECOND_NS
from conftest import until

DESCRIBED = (
    "<domainsnapshot><name>{name}</name><description>{text}</description>"
    "<creationTime>1800000000</creationTime></domainsnapshot>"
)
DOMAIN = (
    "<domain type='test'><name>node</name><uuid>2f6b3f0e-8a52-4a3c-9d3e-5c1f0a7b9e11</uuid>"
    "<memory>1024</memory><os><type>hvm</type></os>"
    "<devices>{devices}</devices></domain>"
)
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
OTHER_CHANNEL = "<channel type='unix'><target type='virtio' name='com.redhat.spice.0'/></channel>"
MARKED = Snapshot("base", 1_800_000_000_000_000_001, "set-1", ("node1", "node2"))
CERTIFICATE = Certificate("/etc/a.crt", "system:node:a", 5, None)
HUGE = '{"set":"s","members":["a"],"created_ns":%d,"certificates":[{"path":"a","subject":"a","not_before_ns":%d}]}'


def refusal(code: int, text: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, 0, text, 2, None, None, None, 0, 0)
    return error


def test_what_is_written_into_a_description_is_read_back() -> None:
    assert parse_snapshot(describe_snapshot(MARKED)) == MARKED
    for certificates in ((), (CERTIFICATE,), (CERTIFICATE, replace(CERTIFICATE, not_after_ns=7))):
        marked = replace(MARKED, certificates=certificates)
        assert parse_snapshot(describe_snapshot(marked)) == marked


def test_what_somebody_else_wrote_of_certificates_is_bounded() -> None:
    marked = replace(MARKED, certificates=(replace(CERTIFICATE, subject="x" * 10_000),) * 10_000)
    kept = parse_snapshot(describe_snapshot(marked)).certificates
    assert kept == (replace(CERTIFICATE, subject="x" * LONGEST),) * MOST


def test_a_mark_is_found_among_other_lines() -> None:
    xml = DESCRIBED.format(name="base", text='mine\nclockstep: {"set":"s","members":["a"],"created_ns":7}\nnotes')
    assert parse_snapshot(xml) == Snapshot("base", 7, "s", ("a",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "by hand",
        "clockstep: not json",
        'clockstep: {"set": 1}',
        "clockstep: ",
        f"clockstep: {HUGE % (2**70, 1)}",
        f"clockstep: {HUGE % (1, 2**70)}",
    ],
)
def test_a_snapshot_without_a_readable_mark_is_another_tools(text: str) -> None:
    assert parse_snapshot(DESCRIBED.format(name="x", text=text)) == Snapshot("x", 1_800_000_000 * 10**9)


def test_a_description_that_is_no_description_is_an_error_of_ours() -> None:
    with pytest.raises(HypervisorError):
        parse_snapshot("<oops")


def test_an_address_where_nobody_answers_says_what_to_do() -> None:
    with pytest.raises(HypervisorError) as caught:
        connect("qemu+unix:///session?socket=/nonexistent/libvirt-sock")
    assert "--connect" in caught.value.hint


def test_an_interrupt_during_a_call_that_fails_is_an_interrupt() -> None:
    connection = connect("test:///default")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(50):  # nearly each of them comes while libvirt is at work
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.002))
                while True:
                    with contextlib.suppress(libvirt.libvirtError):
                        connection.lookupByName("nobody")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("uri", ["::nonsense::", "nonsense", "qemu+carrier-pigeon:///system"])
def test_an_address_that_is_none_is_a_usage_error(uri: str) -> None:
    with pytest.raises(UsageError):
        connect(uri)


def test_a_guest_without_an_agent_channel_is_told_to_get_one() -> None:
    error = unanswered(refusal(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"))
    assert error.lasting
    assert "channel" in error.hint
    assert "--ssh-config" in error.hint


def test_an_agent_that_is_not_connected_yet_is_asked_again() -> None:
    text = "Guest agent is not responding: QEMU guest agent is not connected"
    assert not unanswered(refusal(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, text)).lasting


@pytest.mark.parametrize(
    "text",
    [
        "internal error: unable to execute QEMU agent command 'guest-exec': The command guest-exec has been disabled",
        "internal error: unable to execute QEMU agent command 'guest-exec': The command guest-exec has not been found",
    ],
)
def test_a_guest_that_runs_no_commands_is_told_apart(text: str) -> None:
    assert isinstance(unanswered(refusal(libvirt.VIR_ERR_INTERNAL_ERROR, text)), ExecBlockedError)


@pytest.mark.parametrize("why", ["Permission denied", "Operation not permitted"])
def test_a_node_that_forbids_its_agent_to_run_programs_is_told_from_one_that_has_none(why: str) -> None:
    agent = "internal error: unable to execute QEMU agent command 'guest-exec': "
    text = agent + "Failed to execute child process “/bin/sh” ({})"
    error = unanswered(refusal(libvirt.VIR_ERR_INTERNAL_ERROR, text.format(why)))
    assert isinstance(error, ConfinedError)
    assert "ssh" in error.hint
    assert "virt_qemu_ga_t" in error.hint
    missing = unanswered(refusal(libvirt.VIR_ERR_INTERNAL_ERROR, text.format("No such file or directory")))
    assert isinstance(missing, NoProgramError)


class SetFails:
    """A domain whose agent answers guest-set-time with an error."""

    def __init__(self, said: str) -> None:
        self._said = f"internal error: unable to execute QEMU agent command 'guest-set-time': {said}"

    def agentSetResponseTimeout(self, _timeout: int) -> None:  # noqa: N802 - as libvirt calls it
        """Take it."""

    def setTime(self, _time: object) -> None:  # noqa: N802
        raise refusal(libvirt.VIR_ERR_INTERNAL_ERROR, self._said)


class Alone:
    """A domain that is lent to whoever wants it."""

    losses = 0

    def __init__(self, domain: object) -> None:
        self._domain = domain

    @contextlib.contextmanager
    def leased(self) -> Iterator[tuple[Lease, Any]]:
        yield Lease(None, SECOND_NS), self._domain


def test_an_agent_that_cannot_set_the_clock_is_told_from_one_that_is_away() -> None:
    channel = DomainChannel(Alone(SetFails("this feature or command is not currently supported")))
    with pytest.raises(NotSteppedError) as caught:
        channel.set_time(1, 0)
    assert caught.value.lasting
    assert "hwclock" in caught.value.hint


def test_a_clock_that_was_set_and_not_written_to_an_rtc_is_set() -> None:
    DomainChannel(Alone(SetFails("hwclock failed to set hardware clock to system time"))).set_time(1, 0)


def wayed(tmp_path: Path, devices: str, ways: Ways) -> Reach:
    """The way to a domain of libvirt's test driver that has these devices."""
    domain = tmp_path / "domain.xml"
    domain.write_text(DOMAIN.format(devices=devices))
    node = tmp_path / "node.xml"
    node.write_text(f"<node><domain file='{domain}'/></node>")
    hypervisor = Libvirt(f"test://{node}", SystemClock(), HostReference(), ways)
    return hypervisor.reach(hypervisor.guests()[0])


@pytest.mark.parametrize(
    ("devices", "ways", "source"),
    [
        (CHANNEL, Ways(), "guest agent"),
        (CHANNEL, Ways("file"), "ssh"),  # the test driver does not say that an agent is connected
        (CHANNEL, Ways("file", "agent"), "guest agent"),
        (CHANNEL, Ways("file", "ssh"), "ssh"),
        (CHANNEL, Ways(None, "ssh"), "ssh"),
        ("", Ways(), "guest agent"),
        ("", Ways("file"), "ssh"),
        (OTHER_CHANNEL, Ways("file"), "ssh"),
        ("", Ways("file", "agent"), "guest agent"),
    ],
)
def test_ssh_is_the_way_where_it_is_wished_for_or_no_agent_is_connected(
    tmp_path: Path, devices: str, ways: Ways, source: str
) -> None:
    assert wayed(tmp_path, devices, ways).source == source


@pytest.mark.parametrize(
    ("state", "connected"), [(" state='connected'", True), (" state='disconnected'", False), ("", False)]
)
def test_an_agent_is_connected_where_libvirt_says_so(state: str, connected: bool) -> None:
    channel = CHANNEL.replace("name='org.qemu.guest_agent.0'", f"name='org.qemu.guest_agent.0'{state}")
    assert agent_connected(DOMAIN.format(devices=channel)) is connected
    assert not agent_connected(DOMAIN.format(devices=OTHER_CHANNEL))


def test_a_machine_without_any_agent_is_unreachable_for_good() -> None:
    hypervisor = Libvirt("test:///default", SystemClock(), HostReference())
    with pytest.raises(ReachError) as caught:
        hypervisor.reach(hypervisor.guests()[0]).run(["/bin/true"], b"", 2**62)
    assert caught.value.lasting


def test_a_snapshot_that_a_killed_run_has_left_paused_is_made_one_of_a_running_machine() -> None:
    raw = connect("test:///default")
    domain = raw.lookupByName("test")
    domain.suspend()
    killed = Snapshot("killed", 1_800_000_000_000_000_001, "set-1", ("test",))
    try:
        taken = domain.snapshotCreateXML(describe_snapshot(killed), 0)
        assert "<state>paused</state>" in taken.getXMLDesc()
        hypervisor = Libvirt("test:///default", SystemClock(), HostReference())
        (guest,) = hypervisor.guests()
        hypervisor.snapshot(guest, killed)
        (described,) = domain.listAllSnapshots()
        assert "<state>running</state>" in described.getXMLDesc()
        assert parse_snapshot(described.getXMLDesc()).is_same(killed)
    finally:
        domain.snapshotLookupByName("killed").delete()
        domain.resume()


def test_connections_that_broke_are_closed_and_no_callback_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[tuple[object, int]] = []
    real_close = libvirt.virConnect.close

    def close(connection: libvirt.virConnect) -> int:
        left = int(real_close(connection))
        closed.append((connection, left))
        return left

    hypervisor = Libvirt("test:///default", SystemClock(), HostReference())
    hypervisor.subscribe(lambda _happening: None)
    (guest,) = hypervisor.guests()
    with hypervisor._domains.domain(guest, "looking") as domain:
        listing, lent = hypervisor._connection, domain.connect()
    monkeypatch.setattr(libvirt.virConnect, "close", close)
    monkeypatch.setattr(libvirt.virConnect, "isAlive", lambda one: one not in {listing, lent})
    assert [one.name for one in hypervisor.guests()] == ["test"]
    assert hypervisor.state(guest) == "running"
    assert [one for one, _ in closed] == [listing, lent]
    assert closed[0][1] == 0


def test_a_domain_that_was_destroyed_is_gone_whichever_connection_is_asked() -> None:
    hypervisor, raw = Libvirt("test:///default", SystemClock(), HostReference()), connect("test:///default")
    domain = raw.createXML(DOMAIN.format(devices=""))
    (guest,) = [one for one in hypervisor.guests() if one.name == "node"]
    domain.destroy()
    assert hypervisor.state(guest) == "gone"
    with pytest.raises(NotRunningError):
        DomainChannel(OfGuest(hypervisor._domains, guest)).time()


def test_a_new_connection_that_tells_of_no_events_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hypervisor = Libvirt("test:///default", SystemClock(), HostReference())
    heard = list[Happening]()
    hypervisor.subscribe(heard.append)
    broken = hypervisor._connection
    monkeypatch.setattr(libvirt.virConnect, "isAlive", lambda one: one is not broken)
    with monkeypatch.context() as patched:
        patched.setattr(hypervisors, "register", failing)
        with pytest.raises(HypervisorError):
            hypervisor.guests()
    (guest,) = hypervisor.guests()
    hypervisor.pause(guest)
    hypervisor.resume(guest)
    until(lambda: [one.what for one in heard if one.uuid == guest.uuid] == [What.PAUSED, What.RESUMED], 10)


def failing(_connection: object, _clock: object, _tell: object) -> list[int]:
    raise refusal(libvirt.VIR_ERR_RPC, "the daemon is just starting")
