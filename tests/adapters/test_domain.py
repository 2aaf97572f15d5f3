"""Domains that lack something for keeping time, on libvirt's own test driver: shown, defined anew, and put back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from clockstep.cli.exits import of_setup
from clockstep.core.setup import SetupOutcome, diff
from clockstep.flows import domain as flow
from clockstep.host.clock import SystemClock
from clockstep.host.locks import DomainLocks
from clockstep.host.reference import HostReference
from clockstep.machines.libvirt.hardware import clock_lacks, improved, parse
from clockstep.machines.libvirt.hypervisor import Libvirt
from clockstep.machines.several import Several
from clockstep.model import Guest
from clockstep.ports import World
from clockstep.state.journal import FileDefinitions, FileJournal

POOR = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>test</name>
  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
  <memory>8192</memory>
  <os><type>hvm</type></os>
  <clock offset='localtime'>
    <timer name='rtc' tickpolicy='catchup' track='guest'/>
    <timer name='kvmclock' present='no'/>
  </clock>
  <devices>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-version'/>
  </qemu:commandline>
</domain>"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = SystemClock()
    several = Several({"": Libvirt("test:///default", clock, HostReference())})
    world = World(several, clock, HostReference(), DomainLocks(clock), FileJournal(tmp_path), lambda _node, _text: None)
    (guest,) = several.guests()
    before = several.definition(guest, secret=True)
    yield world
    several.define(guest, before)  # the driver keeps it for as long as anybody has a connection


@pytest.fixture
def kept(tmp_path: Path) -> FileDefinitions:
    return FileDefinitions(tmp_path)


def only(world: World) -> list[Guest]:
    return world.hypervisor.guests()


def test_what_a_definition_lacks_is_added_and_nothing_else_changed() -> None:
    before, after = improved(POOR)
    around = parse(after, None)
    assert (around.agent_channel, around.generation_id) == (True, True)
    assert (around.rtc_offset, around.rtc_track) == ("utc", "wall")
    kvmclock = ElementTree.fromstring(after).find("clock/timer[@name='kvmclock']")
    assert kvmclock is not None
    assert kvmclock.get("present") == "yes"
    gone = [line for line in before.splitlines() if line not in after.splitlines()]
    assert len(gone) == 3
    assert "<qemu:arg value=" in after


@pytest.mark.parametrize(
    "clock",
    [
        "offset='variable' adjustment='3600' basis='localtime'",
        "offset='timezone' timezone='Europe/Berlin'",
        "offset='absolute' start='0'",
    ],
)
def test_an_rtc_that_is_kept_in_anything_else_is_put_into_utc(clock: str) -> None:
    _, after = improved(POOR.replace("offset='localtime'", clock))
    assert '<clock offset="utc">' in after


OSINFO = (
    "<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
    "<libosinfo:os id='{}'/></libosinfo:libosinfo></metadata>"
)
HYPERV = "<features><hyperv mode='custom'><relaxed state='on'/></hyperv></features>"


@pytest.mark.parametrize(
    ("about", "windows"),
    [
        (OSINFO.format("http://microsoft.com/win/11"), True),
        (OSINFO.format("http://debian.org/debian/13"), False),
        (OSINFO.format("http://debian.org/debian/13") + HYPERV, False),
        (HYPERV, True),
        ("", False),
    ],
)
def test_the_clock_of_windows_is_left_as_it_is(about: str, windows: bool) -> None:
    xml = POOR.replace("<os>", f"{about}<os>")
    _, after = improved(xml)
    around = parse(after, None)
    assert (around.windows, around.agent_channel, around.generation_id) == (windows, True, True)
    assert around.rtc_offset == ("localtime" if windows else "utc")
    assert bool(clock_lacks(xml)) is not windows


@pytest.mark.parametrize("clock", ["offset='utc'", "offset='variable' adjustment='0' basis='utc'"])
def test_what_lacks_nothing_is_left_as_it_is(clock: str) -> None:
    _, after = improved(POOR.replace("offset='localtime'", clock))
    assert improved(after) == (after, after)
    assert clock.replace("'", '"') in after


def test_it_is_shown_defined_and_put_back_and_the_machine_that_runs_is_not_touched(
    world: World, kept: FileDefinitions
) -> None:
    (guest,) = only(world)
    before = world.hypervisor.definition(guest, secret=True)
    (shown,) = flow.look(world, [guest], frozenset()).nodes
    assert shown.outcome is SetupOutcome.WOULD_CHANGE
    assert shown.plan
    assert any(line.startswith("+") and "<genid" in line for line in diff(shown.plan))
    assert world.hypervisor.definition(guest, secret=True) == before
    (done,) = flow.define(world, [guest], frozenset(), kept).nodes
    assert done.outcome is SetupOutcome.DEFINED
    assert "next cold start" in done.text
    assert parse(world.hypervisor.definition(guest), None).agent_channel
    assert world.hypervisor.state(guest) == "running"
    assert not world.hypervisor.around(guest).agent_channel
    (again,) = flow.define(world, [guest], frozenset(), kept).nodes
    assert again.outcome is SetupOutcome.UNCHANGED
    (back,) = flow.undo(world, [guest], kept).nodes
    assert back.outcome is SetupOutcome.PUT_BACK
    assert world.hypervisor.definition(guest, secret=True) == before
    (nothing,) = flow.undo(world, [guest], kept).nodes
    assert nothing.outcome is SetupOutcome.UNCHANGED


def test_a_definition_that_somebody_changed_since_is_not_put_back(world: World, kept: FileDefinitions) -> None:
    (guest,) = only(world)
    flow.define(world, [guest], frozenset(), kept)
    theirs = world.hypervisor.definition(guest, secret=True).replace(">8388608<", ">4194304<")
    world.hypervisor.define(guest, theirs)
    (back,) = flow.undo(world, [guest], kept).nodes
    assert back.outcome is SetupOutcome.NOT_PUT_BACK
    assert world.hypervisor.definition(guest, secret=True) == theirs


def test_a_definition_that_a_revert_has_put_back_is_put_back_already(world: World, kept: FileDefinitions) -> None:
    (guest,) = only(world)
    before = world.hypervisor.definition(guest, secret=True)
    flow.define(world, [guest], frozenset(), kept)
    world.hypervisor.define(guest, before)
    report = flow.undo(world, [guest], kept)
    assert (report.nodes[0].outcome, of_setup(report, strict=False)) == (SetupOutcome.UNCHANGED, 0)
    assert "a revert has restored its old definition" in report.nodes[0].text
    (again,) = flow.undo(world, [guest], kept).nodes
    assert again.text == "clockstep has not changed it"


def test_what_no_vagrantfile_can_say_is_defined_and_the_rest_is_said(world: World, kept: FileDefinitions) -> None:
    (guest,) = only(world)
    world.hypervisor.define(guest, POOR.replace("type='kvm'", "type='test'").replace("<domain ", "<domain ", 1))
    (shown,) = flow.look(world, [guest], frozenset({guest.uuid})).nodes
    assert shown.outcome is SetupOutcome.WOULD_CHANGE
    assert "until vagrant destroy" in shown.text
    lines = [
        "libvirt.clock_offset = 'utc'",
        ":name => 'rtc', :track => 'wall'",
        ":name => 'kvmclock', :present => 'yes'",
    ]
    assert [line in shown.text for line in lines] == [True, True, True]
    assert "libvirt.channel" not in shown.text
    report = flow.define(world, [guest], frozenset({guest.uuid}), kept)
    assert (report.nodes[0].outcome, of_setup(report, strict=True)) == (SetupOutcome.DEFINED, 0)
    defined = world.hypervisor.definition(guest)
    assert (defined.count("<genid>"), "org.qemu.guest_agent.0" in defined, "localtime" in defined) == (1, True, True)
    (left,) = flow.look(world, [guest], frozenset({guest.uuid})).nodes
    assert left.outcome is SetupOutcome.LEFT_ALONE
    assert left.plan
    assert len(left.plan.acts) == 3
    mended = improved(defined)[1]
    world.hypervisor.define(guest, mended)
    (again,) = flow.look(world, [guest], frozenset({guest.uuid})).nodes
    assert again.outcome is SetupOutcome.UNCHANGED


def test_the_kept_definition_is_its_owners_alone_to_read(kept: FileDefinitions, tmp_path: Path) -> None:
    kept.keep("6695eb01-f6a4-8304-79aa-97f2502e193f", "before", POOR)
    (file,) = (tmp_path / "definitions").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_yes_and_without_anybody_to_ask_the_plan_is_shown_and_nothing_is_changed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clockstep", "--connect", "test:///default", "domain"]
    environment = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        line = [*command, *words]
        return subprocess.run(
            line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
        )

    planned = run("plan", "test")
    assert planned.returncode == 0, planned.stderr
    assert "+++ domain test" in planned.stdout
    assert json.loads(run("plan", "test", "-o", "json").stdout)["nodes"][0]["outcome"] == "would-change"
    refused = run("apply", "test")
    assert refused.returncode == 2
    assert "+++ domain test" in refused.stdout
    assert "refusing to change the definition of test without confirmation" in refused.stderr
    applied = run("apply", "test", "--yes")
    assert applied.returncode == 0, applied.stderr
    assert "defined" in applied.stdout
