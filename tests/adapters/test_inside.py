"""What a node's system says of itself: the script as it runs here, and how its answers are read."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.daemons.inside import ASK, parse
from clockstep.machines.libvirt import hardware
from clockstep.model import Around, Inside, TimeSource

ANSWER = """#clockstep daemons
chronyd
#clockstep others
VBoxService
#clockstep capability
CapEff:\t0000000002000400
CapEff:\t0000000000000000
#clockstep container
#clockstep clocksource
kvm-clock
#clockstep kernel
6.1.0-30-amd64
#clockstep ptp_kvm
yes
#clockstep agent
active
#clockstep fork
yes
#clockstep ptp
/dev/ptp0 e1000e
/dev/ptp1 KVM virtual PTP
#clockstep configuration
# makestep 1 -1
makestep 1 -1
refclock PHC /dev/ptp_kvm:nocrossts poll 2 optional trust
refclock SHM 0 optional
 rtcsync
MakeStep 1 3
#clockstep nts
yes
#clockstep links
/dev/ptp_kvm /dev/ptp1
#clockstep sources
#,*,PHC0,0,2,377,3,0.000000919,0.000001851,0.000004506
^,x,10.0.2.2,1,6,0,3,0.000000919,0.000001851,0.000004506
506 Cannot talk to daemon
#clockstep rtc
1800000005
1800000000
#clockstep adjtime
0.0 0 0.0
0
LOCAL
#clockstep interpreter
/usr/bin/perl
#clockstep tai
37
#clockstep end
"""


def test_an_answer_is_read_as_it_was_meant() -> None:
    assert parse(ANSWER) == Inside(
        daemons=("chronyd",),
        others=("VBoxService",),
        sources=(TimeSource("#", "*", "PHC0", reach=True, poll_s=4), TimeSource("^", "x", "10.0.2.2", reach=False)),
        makestep="1 3",
        refclocks=(("/dev/ptp_kvm", "/dev/ptp1"),),
        optional=("/dev/ptp_kvm",),
        trusted=("/dev/ptp_kvm",),
        configured=True,
        nts=True,
        rtcsync=True,
        ptp=(("/dev/ptp0", "e1000e"), ("/dev/ptp1", "KVM virtual PTP")),
        kernel="6.1.0-30-amd64",
        has_ptp_kvm=True,
        clocksource="kvm-clock",
        may_set_time=True,
        container=False,
        rtc_ahead_s=5,
        rtc_local=True,
        agent=True,
        forks=True,
        tai_s=37,
    )


def test_the_script_runs_here_and_changes_nothing() -> None:
    done = subprocess.run(["/bin/sh", "-c", ASK], capture_output=True, text=True, check=False, timeout=30)
    found = parse(done.stdout)
    assert found is not None
    assert found.daemons is not None
    assert found.kernel
    assert found.clocksource


@given(st.text())
def test_any_other_answer_is_no_crash(output: str) -> None:
    parse(output)


@given(st.lists(st.sampled_from(ANSWER.splitlines()), max_size=40))
def test_an_answer_that_is_torn_apart_is_no_crash(lines: list[str]) -> None:
    parse("\n".join([*lines, "#clockstep end"]))


@pytest.mark.parametrize("output", ["", ANSWER.partition("#clockstep rtc")[0], "'sh' is not recognized"])
def test_an_answer_that_is_not_whole_is_none(output: str) -> None:
    assert parse(output) is None


def test_numbers_beyond_all_sense_are_left_out() -> None:
    found = parse(ANSWER.replace("1800000005", "9" * 5000).replace("\n37\n", f"\n{'3' * 5000}\n"))
    assert found is not None
    assert (found.rtc_ahead_s, found.tai_s) == (None, None)


def test_where_processes_cannot_be_told_no_daemon_is_said_to_be_missing() -> None:
    found = parse(ANSWER.replace("#clockstep daemons\nchronyd\n", ""))
    assert found is not None
    assert found.daemons is None


def apart(rtc_offset: str) -> Around:
    return Around(agent_channel=False, generation_id=False, rtc_offset=rtc_offset)


@pytest.mark.parametrize(
    ("xml", "around"),
    [
        ("<domain/>", Around(agent_channel=False, generation_id=False)),
        (
            "<domain><genid>x</genid><clock offset='localtime'><timer name='rtc' track='guest'/></clock><devices>"
            "<channel><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>",
            Around(agent_channel=True, generation_id=True, rtc_offset="localtime", rtc_track="guest"),
        ),
        ("<domain><clock offset='variable' basis='localtime'/></domain>", apart("localtime")),
        ("<domain><clock offset='variable' adjustment='0' basis='utc'/></domain>", apart("utc")),
        ("<domain><clock offset='variable'/></domain>", apart("utc")),
        ("<domain><clock offset='timezone' timezone='Europe/Berlin'/></domain>", apart("timezone")),
        ("<domain><clock offset='absolute' start='0'/></domain>", apart("absolute")),
    ],
)
def test_what_surrounds_a_node_is_read_from_its_domain(xml: str, around: Around) -> None:
    assert hardware.parse(xml, None) == around
